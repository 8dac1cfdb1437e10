"""What everything that writes files shares: a file appears whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO


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
