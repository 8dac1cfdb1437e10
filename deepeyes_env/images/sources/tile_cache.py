"""Very large images as files of tiles, written once and kept in a folder of bounded size; extra ``large``."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.extras import require_extra
from deepeyes_env.files import replacing
from deepeyes_env.images.sources.source_files import Stamp, file_digest
from deepeyes_env.side_process import SideProcess

EXTRA = "large"

FOLDER = "DEEPEYES_CACHE"
"""Environment variable that names the folder for what can be made again; ``~/.cache/deepeyes_env`` if it is not set."""

GIGABYTES = "DEEPEYES_CACHE_GB"
"""Environment variable that says how many gigabytes (10^9 bytes) the tiles of all images may take."""

DEFAULT_GIGABYTES = 20.0

WORKER = Path(__file__).with_name("tile_worker.py")
"""The script that runs libvips."""

MAX_SECONDS = 3600.0
"""How long an image may take to be cut into tiles."""

MAX_MEMORY = 2**30
"""Bytes of address space that it may take."""

_THREADS = 2
_OUT_OF_TIME = -getattr(signal, "SIGALRM", 0)
_FORMAT = 1
"""To be raised when the tiles of an equal image would be others."""


def tiles_of(stamp: Stamp, kind: str) -> Path:
    """Return the file with the tiles of an image, and write it if there is none for such content.

    Of all processes that share the folder one writes at a time, and others wait for it. What was used longest ago is
    deleted where the folder would grow too large; who has it open can read on.

    Args:
        stamp: The image.
        kind: Its format: ``JPEG`` or ``PNG``.

    Raises:
        ImageError: The image is broken, or takes too long, too much memory or too much space.
        MissingExtraError: pyvips is not installed.
        UsageError: ``DEEPEYES_CACHE_GB`` is no number above 0.
    """
    path = _folder() / f"{file_digest(stamp)}-{_FORMAT}.tif"
    if not _use(path):
        require_extra(EXTRA, "pyvips", "openslide")
        limit = _limit()
        with _one_at_a_time(path.parent):
            if not _use(path):
                with replacing(path) as temporary:
                    _write(stamp.path, kind, temporary, limit)
                _make_room(path, limit)
    return path


def _folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(FOLDER) or Path(home) / "deepeyes_env") / "tiles"


def _limit() -> int:
    """Return how many bytes the tiles of all images may take."""
    text = os.environ.get(GIGABYTES) or str(DEFAULT_GIGABYTES)
    with suppress(ValueError, OverflowError):
        if (nbytes := int(float(text) * 1e9)) > 0:
            return nbytes
    raise UsageError(f"{GIGABYTES}={text!r} is no number of gigabytes above 0")


def _use(path: Path) -> bool:
    """Whether a file is there; if so, it is now the one that was used last."""
    try:
        status = path.stat()
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))  # to whoever has it open it stays the same
    except FileNotFoundError:
        return False
    except OSError:  # of another user: it can be read
        pass
    return True


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from writing into a folder; where there is no ``flock``, they are not kept."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as file:
        with suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(source: Path, kind: str, target: Path, limit: int) -> None:
    arguments = (kind, str(source.absolute()), str(target.absolute()), str(MAX_SECONDS), str(MAX_MEMORY), str(limit))
    # What libvips sets aside on the way goes to the folder, too; /tmp may be memory.
    environment = {"TMPDIR": str(target.parent.absolute()), "VIPS_CONCURRENCY": str(_THREADS), "MALLOC_ARENA_MAX": "2"}
    process = SideProcess(WORKER, *arguments, environment=environment)
    try:
        problem = process.hear()
    except EOFError:
        status = process.status()
        if status == _OUT_OF_TIME:
            problem = f"it takes more than {MAX_SECONDS:g} s"
        else:
            problem = f"libvips ended with status {status}, and may take {MAX_MEMORY >> 20} MiB of memory"
    finally:
        process.end()
    if problem is not None and "File too large" in problem:
        more = f"its tiles take more than {limit / 1e9:g} GB; let {GIGABYTES} be more, or read a smaller image"
        raise ImageError(f"image {source}: {more}")
    if problem is not None:
        raise ImageError(f"image {source}: cannot be cut into tiles ({problem}); fetch or write it again")


def _make_room(newest: Path, limit: int) -> None:
    """Delete what was used longest ago until all together are within the limit."""
    files = []
    for path in newest.parent.glob("*.tif"):
        with suppress(OSError):
            files.append((path.stat().st_atime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
