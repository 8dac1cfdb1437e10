"""What everything that writes files shares: files that appear whole or not at all, and images as encoded bytes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from deepeyes_env.core import DataError, Sample
from deepeyes_env.data.rows import check_sample
from deepeyes_env.images import codec
from deepeyes_env.images.ref import ImageRef

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, moved onto it when the block succeeds and removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_file(folder: Path) -> None:
    """Raise ``FileExistsError`` if what is to be a folder is a file."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file; name a folder")


def refuse_existing(file: Path, overwrite: bool) -> None:
    """Raise ``FileExistsError`` if a file to be written is there and not to be replaced, or is a folder."""
    if file.is_dir():
        raise FileExistsError(f"{str(file)!r} is a folder; name a file")
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file}: exists; give another file or --overwrite")


def append_whole(file: FileIO, line: bytes) -> None:
    """Append a line to an unbuffered file, whole or, if that fails, not at all.

    Raises:
        OSError: The disk is full, say; the file is as it was.
    """
    end = os.fstat(file.fileno()).st_size
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except BaseException:
        file.truncate(end)
        raise


def start_of_last_line(file: BinaryIO, block: int = 1 << 16) -> int:
    """Return the offset after the last line feed of a file, reading backwards; a run may be many gigabytes long."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def checked_samples(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield samples on their way to a file.

    Raises:
        DataError: A sample could not be read back: a blank or invalid text, a box that is not finite, an id twice.
    """
    seen = set()
    for sample in samples:
        try:
            check_sample(sample)
            if sample.id in seen:
                raise ValueError("another sample has the same id")
        except ValueError as error:
            raise DataError(f"cannot write sample {sample.id!r}: {error}") from error
        seen.add(sample.id)
        yield sample


def encoded_image(image: ImageRef) -> bytes:
    """Return an image's own encoded bytes, untouched, or a PNG of its pixels if it has none."""
    if image.is_encoded:
        return image.encoded()
    return codec.encode(image.pixels())


def image_extension(head: bytes) -> str:
    """Return the file extension, without the dot, for an encoded image that begins with ``head`` (12 bytes or more).

    Told from the content, because the name of a file may lie and bytes have none; ``bin`` for what is not known.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((extension for signature, extension in _SIGNATURES if head.startswith(signature)), "bin")
