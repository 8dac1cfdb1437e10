"""The warm parent of this process, and the sessions that it forks."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import weakref
from contextlib import suppress
from typing import IO

from deepeyes_env.sandbox.kernel import IsolationError, Limits, Sandbox, SandboxError
from deepeyes_env.sandbox.local.bubblewrap import command, find_bubblewrap, remedy
from deepeyes_env.sandbox.local.kernel import LocalKernel, request_of
from deepeyes_env.sandbox.local.memory import MemoryWatch
from deepeyes_env.sandbox.local.memory_groups import MemoryGroups, find_groups
from deepeyes_env.sandbox.local.shared_pixels import SharedPixels
from deepeyes_env.sandbox.local.system_calls import filter_program
from deepeyes_env.sandbox.worker.framing import BrokenMessageError, receive, send

START_SECONDS = 120.0
_TRIES = 3
logger = logging.getLogger(__name__)


class LocalSandbox(Sandbox):
    """Runs programs on this machine, each session shut in by bubblewrap and by namespaces of its own.

    The warm parent starts with the first session, and again if it was killed.

    Args:
        seed: What the random generators of every session begin with.
        control_groups: Let the kernel bound the memory of a session, where control groups can be written; elsewhere,
            and without, it is watched.
    """

    def __init__(self, seed: int = 0, control_groups: bool = True) -> None:
        self._seed = seed
        self._groups: MemoryGroups | str = find_groups() if control_groups else "not wanted"
        self._lock = threading.Lock()
        self._pixels = SharedPixels()
        self._parent: _WarmParent | None = None
        self._watch = MemoryWatch()
        self._kernels: weakref.WeakSet[LocalKernel] = weakref.WeakSet()

    def open(self, limits: Limits) -> LocalKernel:
        """Fork a session; see ``Sandbox.open``."""
        for attempt in range(_TRIES):
            parent = self._living_parent()
            try:
                return self._fork(parent, limits)
            except (OSError, SandboxError) as error:
                if attempt == _TRIES - 1:
                    raise SandboxError(f"no session could be opened: {error}") from error
                if not parent.alive:
                    logger.warning("the sandbox's warm parent is gone (%s); it is started again", error)
        raise AssertionError("unreachable")

    def _fork(self, parent: _WarmParent, limits: Limits) -> LocalKernel:
        cells, cells_inside = socket.socketpair()
        control, control_inside = socket.socketpair()
        kernel = LocalKernel(cells, control, limits, self._pixels)
        try:
            with cells_inside, control_inside:
                request = request_of(limits, parent.memory, self._seed)
                parent.ask(request, [cells_inside.fileno(), control_inside.fileno()])
            kernel.wait_until_born()
            self._bound(kernel, limits.memory)  # takes as long as a session takes to set itself up
            kernel.start()
        except BaseException:
            kernel.close()
            raise
        with self._lock:
            self._kernels.add(kernel)
        return kernel

    def _bound(self, kernel: LocalKernel, memory: int) -> None:
        """See to it that a session ends that takes too much memory."""
        if not isinstance(self._groups, str):
            try:
                group = self._groups.make(memory)
                weakref.finalize(kernel, group.remove)
                group.add(kernel.pid)
                kernel.group = group
            except OSError as error:
                logger.warning("no control group for a session (%s); its memory is watched", error)
        self._watch.add(kernel, memory)

    def start(self) -> None:
        """Start the warm parent now rather than with the first session.

        Raises:
            IsolationError: Programs cannot be shut in here.
        """
        self._living_parent()

    def check_installed(self) -> None:
        """Look for bubblewrap, libseccomp and pyseccomp; see ``Sandbox.check_installed``."""
        find_bubblewrap()
        filter_program()

    def check(self) -> None:
        """Open a session and run a cell in it.

        Raises:
            SandboxError: That did not work; the message has the remedy.
        """
        self.open(Limits()).close()

    def _living_parent(self) -> _WarmParent:
        with self._lock:
            if self._parent is None or not self._parent.alive:
                if self._parent is not None:
                    self._parent.close()
                self._parent = _WarmParent()
                logger.info("%s", self.describe())
            return self._parent

    @property
    def parent_pid(self) -> int:
        """Process id of bubblewrap."""
        return self._living_parent().pid

    def pids(self) -> set[int]:
        """Return the process ids of the sessions that are open, each of its first process."""
        with self._lock:
            return {each.pid for each in self._kernels if each.alive}

    def describe(self) -> str:
        """Return in a line how programs are shut in, and how memory is bounded."""
        bound = f"{self._watch.kind} ({self._groups})" if isinstance(self._groups, str) else self._groups.kind
        return f"sandbox: bubblewrap, namespaces, seccomp; memory of a session: {bound}"

    def close(self) -> None:
        """End the warm parent and all sessions."""
        with self._lock:
            if self._parent is not None:
                self._parent.close()
            self._parent = None
            self._watch.close()
            for kernel in self._kernels:
                kernel.close()
        if not isinstance(self._groups, str):
            self._groups.close()


class _WarmParent:
    """A process inside bubblewrap that forks sessions.

    Raises:
        IsolationError: It cannot be shut in here.
        SandboxError: It did not start.
    """

    def __init__(self) -> None:
        program = filter_program()
        self._lock = threading.Lock()
        self._owner = os.getpid()
        mine, its = socket.socketpair()
        self._control = mine
        errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        line = command(find_bubblewrap(), its.fileno(), program)
        with its:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[its.fileno()],
                env={},
            )
        weakref.finalize(self, _end, self._process, self._owner)
        self.pid = self._process.pid
        mine.settimeout(START_SECONDS)
        try:
            ready = receive(mine, 1 << 16)
        except (OSError, EOFError, BrokenMessageError) as error:
            self.close()
            errors.seek(0)
            told = errors.read().decode(errors="replace") or str(error)
            if isinstance(error, TimeoutError):
                raise IsolationError(
                    f"the warm parent did not start in {START_SECONDS:g} s; is the machine overloaded? It wrote: {told}"
                ) from None
            raise IsolationError(remedy(told, line)) from None
        self.memory = int(ready["memory"])
        self.seconds = float(ready["ready"])

    @property
    def alive(self) -> bool:
        """Whether it runs and listens, and belongs to this process and not to one that forked it."""
        return os.getpid() == self._owner and self._process.poll() is None and not self._hung_up()

    def _hung_up(self) -> bool:
        """Whether the process inside is gone; bubblewrap outlives it by a moment, long on a busy machine."""
        poll = select.poll()
        try:
            poll.register(self._control, 0)  # the end of the connection is told unasked
            return bool(poll.poll(0))
        except (OSError, ValueError):  # closed
            return True

    def ask(self, request: dict[str, object], fds: list[int]) -> None:
        """Ask for a session."""
        with self._lock:
            send(self._control, request, fds=fds)

    def close(self) -> None:
        """End it, and with it all its sessions."""
        self._control.close()
        _end(self._process, self._owner)


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner or process.poll() is not None:
        return
    process.send_signal(signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
