"""Files that sources read: a name by content, a handle that is shared, and errors that name the file."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.errors import ImageError

_PIECE = 2**16
_PIECES = 64
_OPEN_FILES = 8
"""How many handles of a kind a process keeps open."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was when it was looked at; another stamp under the same path is another file.

    Attributes:
        path: Where it is.
        nbytes: Its length.
        changed: When it was last written, in nanoseconds.
        process: Who looked: a handle must not be shared with a forked child, which would move its position.
    """

    path: Path
    nbytes: int
    changed: int
    process: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Look at a file.

        Raises:
            ImageError: It is not there, or no regular file.
        """
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            raise ImageError(f"image {path}: cannot be read ({getattr(error, 'strerror', '') or error})") from error
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"image {path}: it is no regular file")
        if not status.st_size:
            raise ImageError(f"image {path}: is empty (0 bytes); fetch or write it again")
        return cls(path, status.st_size, status.st_mtime_ns, os.getpid())


@functools.lru_cache(maxsize=4096)
def content_key(stamp: Stamp) -> str:
    """Return a name by content that is had in milliseconds: SHA-256 of the length and of 4 MiB spread over the file.

    A file of up to 4 MiB is hashed whole.
    """
    sha = hashlib.sha256(str(stamp.nbytes).encode())
    with stamp.path.open("rb", buffering=0) as file:
        if stamp.nbytes <= _PIECE * _PIECES:
            sha.update(file.read())
        else:
            for piece in range(_PIECES):
                file.seek((stamp.nbytes - _PIECE) * piece // (_PIECES - 1))
                sha.update(file.read(_PIECE))
    return sha.hexdigest()


@functools.lru_cache(maxsize=4096)
def file_digest(stamp: Stamp) -> str:
    """Return the SHA-256 of all bytes of a file."""
    with stamp.path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shared_handle(open_file: Callable[[Stamp], Any]) -> Callable[[Stamp], Any]:
    """Let everyone in a process who reads a file share one handle; the last few are kept open."""
    return functools.lru_cache(maxsize=_OPEN_FILES)(open_file)


def unreadable(path: Path, error: object) -> ImageError:
    """Return the error for a file that its library refuses."""
    said = " ".join(str(error).split())[:200]
    return ImageError(f"image {path}: cannot be read ({said}); the file is damaged or of another kind, fetch it again")
