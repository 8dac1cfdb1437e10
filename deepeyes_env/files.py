"""What everything that writes files shares: a file appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path``, moved into its place when the block succeeds and removed when it fails.

    Its files are on the disk before it gets its name: a power cut must not leave half of them.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _flush(temporary)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_temporary(name: str) -> bool:
    """Return whether a path is that of a file or folder (or of a part of one) that was not finished when killed."""
    return any(part.startswith(".") and part.endswith(".tmp") for part in Path(name).parts)


def refuse_file(folder: Path) -> None:
    """Raise ``FileExistsError`` if what is to be a folder is a file."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{str(folder)!r} is a file; name a folder")


def check_folder(folder: Path) -> None:
    """Check that files can be written into a folder, before any work is done for them; nothing is left behind.

    Raises:
        FileExistsError: It is a file.
        OSError: It cannot be made, or not be written to.
    """
    refuse_file(folder)
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(f"{folder}: cannot be written to ({error.strerror}); give another folder") from error
    finally:
        for each in made:
            with suppress(OSError):  # it was not made, or another process wrote into it
                each.rmdir()


def refuse_existing(file: Path, overwrite: bool) -> None:
    """Check that a file can be written, before any work is done for it.

    Raises:
        FileExistsError: It is there and not to be replaced, or is a folder.
        OSError: Its folder cannot be written to.
    """
    if file.is_dir():
        raise FileExistsError(f"{str(file)!r} is a folder; name a file")
    if file.exists() and not overwrite:
        raise FileExistsError(f"{file}: exists; give another file or --overwrite")
    check_folder(file.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file's content appear under another name too: as a hard link where the file system has them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
