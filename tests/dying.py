"""Work that is killed while it writes: before a file is opened, renamed or deleted, whichever of them it is."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


def die_at_write(number: int, folder: str, tell: str = "") -> None:
    """From now on count the writes of this process in a folder; kill its process group before one of them.

    Python tells of them (``sys.audit``); what a library writes in C goes uncounted, though not the renaming afterwards.

    Args:
        number: Before which write, from 1 on; 0: none.
        folder: The folder.
        tell: File to write at the end: how many writes there were, and the seconds until the first one.
    """
    counted, first, began = 0, 0.0, time.monotonic()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal counted, first
        if not is_write(event, arguments) or not str(arguments[0]).startswith(folder):
            return
        counted += 1
        first = first or time.monotonic() - began
        if counted == number:
            os.killpg(0, signal.SIGKILL)

    sys.addaudithook(watch)
    if tell:
        atexit.register(lambda: Path(tell).write_text(f"{counted} {first}"))


def is_write(event: str, arguments: tuple[object, ...]) -> bool:
    if event == "open":
        flags = arguments[2]
        return isinstance(arguments[0], str) and isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
    return event in WRITES and isinstance(arguments[0], str | os.PathLike)


def deaths(work: Callable[[], object], folder: Path) -> Iterator[int]:
    """Do some work in forks that are killed before their first, second, ... write in a folder.

    Gives the number of the write after each kill, and ends once the work is done before it would be killed.
    """
    number = 0
    while True:
        number += 1
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            try:
                die_at_write(number, str(folder))
                work()
                os._exit(0)
            except BaseException:
                os._exit(1)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert ended in (0, -signal.SIGKILL), "the work failed"
        if ended == 0:
            return
        yield number
