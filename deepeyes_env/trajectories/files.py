"""Files of a run folder: where they are, what they are called, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RECORDS = "trajectories.jsonl"
IMAGES = "images"

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to ``path`` when the block has succeeded.

    Whoever looks at ``path`` sees the old file or the whole new one. A file left behind by a killed process is
    overwritten by the next attempt.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def image_extension(head: bytes) -> str:
    """Return the file extension, without the dot, for an encoded image that begins with ``head`` (12 bytes or more).

    Told from the content, because the name of a file may lie and bytes have none; ``bin`` for what is not known.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((extension for signature, extension in _SIGNATURES if head.startswith(signature)), "bin")


def image_path(digest: str, extension: str) -> str:
    """Return where the image with a digest is stored, relative to the run folder."""
    return f"{IMAGES}/{digest[:2]}/{digest}.{extension}"
