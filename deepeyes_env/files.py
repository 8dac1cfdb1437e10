"""What everything that writes files shares: a file appears whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

from deepeyes_env.checksums import CHECKSUMS, listed_files, verify_checksums, write_checksums
from deepeyes_env.errors import DataError

_BESIDE = r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d{1,10})-[0-9a-f]{8}"
_TEMPORARY, _ASIDE = re.compile(rf"{_BESIDE}\.tmp"), re.compile(rf"{_BESIDE}\.old")

MAX_BYTES = 2**30
"""Largest file that is read whole into memory on the word of another file; the largest photograph is smaller."""


def read_regular_file(path: Path) -> bytes:
    """Return the bytes of a file that may be anything: a device that never ends, a pipe that nobody writes to.

    Raises:
        OSError: It is not a regular file, is larger than ``MAX_BYTES``, or cannot be read.
    """
    # Opening a pipe would wait for its writer.
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(opened)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is no regular file")
        if status.st_size > MAX_BYTES:
            raise OSError(f"it is larger than {MAX_BYTES >> 20} MiB")
        with os.fdopen(opened, "rb", buffering=0, closefd=False) as file:
            return file.read()
    finally:
        os.close(opened)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, moved onto it when the block succeeds and removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent)
    temporary = _beside(path, "tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)  # a failed write names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path``, moved into its place when the block succeeds and removed when it fails.

    Its files are on the disk before it gets its name: a power cut must not leave half of them. It holds their checksums
    too, which also say what is deleted when another takes its place: what others put there moves into the new one.
    Whenever the process is killed, the next ``sweep`` finds the old folder or the new one in its place, or puts one
    there.
    """
    sweep(path.parent)
    temporary = _beside(path, "tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        write_checksums(temporary)
        _flush(temporary)
        if path.is_dir():
            _replace_folder(path, temporary)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(path: Path, successor: Path) -> None:
    ours = listed_files(path)
    for each in path.iterdir():
        if each.name not in ours and (successor / each.name).exists():
            raise FileExistsError(f"{path}: holds {each.name}, which was changed or is another's; move it elsewhere")
    aside = _beside(path, "old")
    path.rename(aside)
    try:
        successor.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    _clear(aside, path)


def remove_folder(path: Path) -> None:
    """Delete what ``replacing_folder`` wrote into a folder, and the folder, unless it holds something else."""
    aside = _beside(path, "old")
    path.rename(aside)
    _clear(aside, path)


def _clear(aside: Path, path: Path) -> None:
    """Delete what ``replacing_folder`` wrote into a folder that stands aside; others' files go back to ``path``."""
    ours = listed_files(aside)
    for each in [each for each in aside.iterdir() if each.name not in ours]:
        path.mkdir(exist_ok=True)
        if not (path / each.name).exists():
            each.rename(path / each.name)
    for name in ours:
        (aside / name).unlink(missing_ok=True)
    with suppress(OSError):  # it holds another's file, of which there is one at its place too
        aside.rmdir()


def is_temporary(name: str) -> bool:
    """Return whether a path is that of a file or folder (or of a part of one) of ours that was not finished."""
    return any(_TEMPORARY.fullmatch(part) for part in Path(name).parts)


def sweep(folder: Path) -> None:
    """Delete the temporary files and folders in a folder whose writers were killed; nothing else, and none elsewhere.

    They are recognised by their names, which hold the writer's machine and process. A folder that was about to be
    replaced returns to its place if its successor is not there.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _TEMPORARY.fullmatch(path.name) or _ASIDE.fullmatch(path.name)
        if name is None or name["host"] != _host() or _is_alive(int(name["process"])):
            continue
        with suppress(OSError):
            if name.re is _ASIDE:
                _settle(path, folder / name["name"])
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _settle(aside: Path, path: Path) -> None:
    """End what was begun with a folder that stands aside: it was being replaced, or deleted."""
    if not path.exists() and _is_whole(aside):
        aside.rename(path)
    else:
        _clear(aside, path)


def _is_whole(folder: Path) -> bool:
    try:
        verify_checksums(folder)
    except DataError:
        return False
    return (folder / CHECKSUMS).is_file()


_sweep_once = lru_cache(maxsize=4096)(sweep)
"""Looking through a folder for every file that is written into it would take longer than writing them."""


def _beside(path: Path, kind: Literal["tmp", "old"]) -> Path:
    return path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{kind}")


@cache
def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    if sys.platform == "win32":
        return True  # it cannot be asked without ending it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    return True


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
