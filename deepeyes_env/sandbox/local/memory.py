"""The memory of a whole session, all its processes together."""

from __future__ import annotations

import logging
import os
import re
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from deepeyes_env.sandbox.worker.isolation import WRITABLE

if TYPE_CHECKING:
    from deepeyes_env.sandbox.local.kernel import LocalKernel

PERIOD = 0.05
logger = logging.getLogger(__name__)


class MemoryWatch:
    """Looks at sessions in which a cell runs, and ends one that wants too much memory.

    Where a control group bounds it, the kernel has then killed one of its processes; where none does, its memory is
    added up.

    Attributes:
        kind: What it is, in words.
    """

    kind = f"a watchdog, every {PERIOD * 1000:g} ms"

    def __init__(self) -> None:
        self._limits: weakref.WeakKeyDictionary[LocalKernel, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._owner = os.getpid()
        self._closed = threading.Event()

    def add(self, kernel: LocalKernel, limit: int) -> None:
        """Watch a session from now on.

        Args:
            kernel: The session.
            limit: Bytes beyond what it shares with the warm parent.
        """
        with self._lock:
            self._limits[kernel] = limit
            if self._thread is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._closed.clear()
                self._thread = threading.Thread(target=self._run, name="sandbox-memory", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread = None

    def _run(self) -> None:
        closed = self._closed
        while not closed.wait(PERIOD):
            with self._lock:
                running = [(each, limit) for each, limit in self._limits.items() if each.running and each.alive]
            for kernel, limit in running:
                group = kernel.group
                if group.exceeded() if group is not None else used_memory(kernel.pid, limit) > limit:
                    logger.info("session %d uses more than %d bytes of memory and is ended", kernel.pid, limit)
                    kernel.over_memory = True
                    kernel.kill()


def used_memory(pid: int, limit: int) -> int:
    """Return how many bytes a session's processes, files and sockets take, or less if that is under a limit anyway.

    Shared pages count in proportion; adding them up takes long, so that it is done only where it may matter. A mapped
    file counts twice, and a socket as if it were full.

    Args:
        pid: The first process of a session.
        limit: Below this, an upper bound is good enough to tell.
    """
    pids = descendants(pid)
    held = _in_files(pid) + _in_sockets(pid)
    rough = held + sum(_resident(each) for each in pids)
    if rough <= limit:
        return min(rough, limit)
    return held + sum(_proportional(each) for each in pids)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it and they have started and that still run."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def _in_files(pid: int) -> int:
    total = 0
    for folder in WRITABLE:
        try:
            found = os.statvfs(f"/proc/{pid}/root{folder}")
        except OSError:  # it is ending
            continue
        total += (found.f_blocks - found.f_bfree) * found.f_frsize
    return total


def _in_sockets(pid: int) -> int:
    """Return what the sockets of a session's network hold at most: no process is charged for what waits in one."""
    try:
        sockets = Path(f"/proc/{pid}/net/unix").read_text().count("\n") - 1
    except OSError:
        return 0
    return max(sockets, 0) * _socket_size()


@cache
def _socket_size() -> int:
    return 2 * int(Path("/proc/sys/net/core/wmem_max").read_text())  # the kernel doubles what a program asks for


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _proportional(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return _resident(pid)
    return sum(int(size) << 10 for size in re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE))
