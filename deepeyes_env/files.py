"""What everything that writes files shares: a file appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file's content appear under another name too: as a hard link where the file system has them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
