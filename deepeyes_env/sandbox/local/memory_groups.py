"""Control groups in which the kernel bounds the memory of a whole session, where this process may make them.

A session's group holds its processes, the files that they write to memory, and what the kernel keeps for them.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NAME = "deepeyes"
_NUMBERS = itertools.count(1)
_PATIENCE = 2.0


class _Files(NamedTuple):
    """Names in one version of control groups.

    Attributes:
        limits: What is written to which files; ``None`` stands for the limit. Only the first has to be there.
        events: Where the number of processes is that were killed for want of memory.
    """

    limits: tuple[tuple[str, int | None], ...]
    events: str


_VERSIONS = {
    1: _Files((("memory.limit_in_bytes", None), ("memory.memsw.limit_in_bytes", None)), "memory.oom_control"),
    2: _Files((("memory.max", None), ("memory.swap.max", 0), ("memory.oom.group", 1)), "memory.events"),
}


class MemoryGroup:
    """The control group of one session.

    Args:
        path: Its folder.
        files: Names of its files.
        groups: What made it.
    """

    def __init__(self, path: Path, files: _Files, groups: MemoryGroups) -> None:
        self.path = path
        self._events = path / files.events
        self._groups = groups

    def add(self, pid: int) -> None:
        """Take a process in, and all that it starts.

        Raises:
            OSError: The kernel refuses.
        """
        (self.path / "cgroup.procs").write_text(str(pid))

    def exceeded(self) -> bool:
        """Whether a process was killed because the session wanted more memory than it may have."""
        with suppress(OSError):
            found = re.search(r"^oom_kill (\d+)", self._events.read_text(), re.MULTILINE)
            return found is not None and int(found[1]) > 0
        return False

    def remove(self) -> None:
        """Remove it as soon as its processes are gone; may be called again."""
        self._groups.remove(self.path)


class MemoryGroups:
    """Makes the groups of sessions below one control group.

    Args:
        folder: Where that is.
        version: Version of control groups: 1 or 2.

    Attributes:
        folder: Where that is.
        kind: What it is, in words.

    Raises:
        OSError: None can be made there.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self.folder, self._files = folder, _VERSIONS[version]
        self.kind = f"a control group (version {version})"
        self._lock = threading.Lock()
        self._left = [path for path in folder.glob(f"{_NAME}-*-*") if not _runs(path)]  # of processes that were killed
        weakref.finalize(self, _removed, self._left, _PATIENCE)  # after its sessions', and their warm parent's
        self.make(1 << 30).remove()

    def make(self, limit: int) -> MemoryGroup:
        """Make a group.

        Args:
            limit: Bytes of memory that all its processes may take together.

        Raises:
            OSError: The kernel refuses.
        """
        with self._lock:
            _removed(self._left)
            path = self.folder / f"{_NAME}-{os.getpid()}-{next(_NUMBERS)}"
        path.mkdir()
        group = MemoryGroup(path, self._files, self)
        try:
            for position, (name, value) in enumerate(self._files.limits):
                file = path / name
                if position == 0 or file.exists():  # a kernel may know nothing of swap
                    file.write_text(str(limit if value is None else value))
        except OSError:
            group.remove()
            raise
        return group

    def remove(self, path: Path) -> None:
        """Remove the group of a folder as soon as its processes are gone."""
        with self._lock:
            self._left.append(path)
            _removed(self._left)

    def close(self) -> None:
        """Remove the groups that are left, whose processes are being killed."""
        with self._lock:
            _removed(self._left, _PATIENCE)


def find_groups(proc: Path = Path("/proc/self")) -> MemoryGroups | str:
    """Return the groups that this process can make, or why it can make none.

    They lie below this process's own control group, or in version 2, where a group with processes can have none below
    it that bound memory, beside it.

    Args:
        proc: Folder in which ``cgroup`` and ``mountinfo`` say where this process is.
    """
    refused = "no control groups of memory are mounted"
    try:
        for folder, version in _candidates(proc):
            try:
                return MemoryGroups(folder, version)
            except OSError as error:
                refused = f"{folder}: {error.strerror}"
    except (OSError, ValueError) as error:
        refused = str(error)
    return refused


def _candidates(proc: Path) -> list[tuple[Path, int]]:
    paths = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            paths[1 if controllers else 2] = path
    found = []
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mounted = before.split(" ")[3:5]
        version = 2 if kind == "cgroup2" else 1 if kind == "cgroup" and "memory" in options.split(",") else 0
        if version in paths and Path(paths[version]).is_relative_to(root):
            folder = Path(mounted) / Path(paths[version]).relative_to(root)
            places = [folder] if version == 1 else [folder, folder.parent]
            found += [(each, version) for each in places if version == 1 or _hands_on_memory(each)]
    return found


def _hands_on_memory(folder: Path) -> bool:
    """Whether groups below a group of version 2 can bound memory."""
    with suppress(OSError):
        return "memory" in (folder / "cgroup.subtree_control").read_text().split()
    return False


def _runs(path: Path) -> bool:
    """Whether the process that made a group is still there."""
    return Path(f"/proc/{path.name.split('-')[1]}").exists()


def _removed(paths: list[Path], patience: float = 0.0) -> None:
    """Remove groups, those whose processes end soon too, and leave the others in the list."""
    until = time.monotonic() + patience
    while True:
        paths[:] = [path for path in paths if not _gone(path)]
        if not paths or time.monotonic() >= until:
            return
        time.sleep(0.01)


def _gone(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError as error:
        return error.errno == errno.ENOENT
    return True
