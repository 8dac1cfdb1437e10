"""Files of one JSON text a line that only grow: each line whole or not there, whatever kills the process."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)


class JSONLinesFile:
    """Appends lines to a file, each in one piece; threads may share one.

    A process that is killed loses at most the line it was writing: opening the file again cuts that torn line off, and
    ``read_lines`` leaves it out. A last line that lacks only its line feed is whole.

    Args:
        path: The file; made if it does not exist, continued if it does.
        exclusive: Whether of two writers to the file, in whatever processes, the second is refused. Where the system
            has no ``flock`` (Windows), it is not.

    Raises:
        FileExistsError: ``exclusive``, and another writer is at work.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        self._path = path
        self._lock = threading.Lock()
        # Unbuffered, so that a failed write leaves nothing behind in a buffer to be written later.
        self._file = path.open("ab", buffering=0)
        if exclusive and not _locked(self._file):
            self._file.close()
            raise FileExistsError(
                f"{path}: is being written by another process, or another writer of this one; wait until it ends, or "
                "give another folder"
            )
        _repair(path)

    def append(self, line: str) -> None:
        """Append a line, whole or, if that fails, not at all.

        Args:
            line: JSON without a line feed; what UTF-8 cannot hold (lone surrogates) becomes a question mark.

        Raises:
            OSError: The disk is full, say; the file is as it was.
            ValueError: The file is closed.
        """
        rest = memoryview(line.encode(errors="replace") + b"\n")
        with self._lock:
            end = os.fstat(self._file.fileno()).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except BaseException as error:
                self._file.truncate(end)
                if isinstance(error, OSError):
                    error.filename = str(self._path)  # a failed write names no file
                raise

    def close(self) -> None:
        """Close the file; others may write it then."""
        self._file.close()

    def __enter__(self) -> JSONLinesFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines of a file with their numbers, from 1 on and without line feeds; none if there is no such file.

    A torn last line (its writer was killed, or is writing just now) is left out with a warning. Whether the others are
    JSON is for the caller to find.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n") and not _is_json(line):
                logger.warning("%s, line %d: torn (%d bytes), left out", path, number, len(line))
                return
            yield number, line.removesuffix(b"\n")


def _repair(path: Path) -> None:
    """Cut a torn last line off; end a whole one that lacks only its line feed."""
    with path.open("r+b") as file:
        start = _start_of_last_line(file)
        file.seek(start)
        tail = file.read()
        if not tail:
            return
        if _is_json(tail):
            file.write(b"\n")
        else:
            logger.warning("%s: cut off a torn last line of %d bytes; its writer was stopped", path, len(tail))
            file.truncate(start)


def _start_of_last_line(file: BinaryIO, block: int = 1 << 16) -> int:
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


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _locked(file: FileIO) -> bool:
    """Lock a file until it is closed, or its process dies; returns whether nobody else has."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # file systems without locks
        logger.info("%s: cannot be locked (%s)", file.name, error)
    return True
