"""The host's end of one session. Nothing that comes from inside is trusted."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np

from deepeyes_env.images import Image
from deepeyes_env.sandbox.kernel import MIB, Cell, CellResult, Kernel, KernelLostError, Limits, SandboxError
from deepeyes_env.sandbox.local.memory_groups import MemoryGroup
from deepeyes_env.sandbox.local.shared_pixels import SharedImage, SharedPixels
from deepeyes_env.sandbox.worker.framing import IMAGES_TOGETHER, BrokenMessageError, receive, receive_into, send
from deepeyes_env.sandbox.worker.init import BORN, CELL_BEGINS, CELL_ENDS, GO, READY

GRACE = 3.0
"""Seconds after a cell's time limit before its session is killed: time to write a traceback."""
OPEN_SECONDS = 60.0
_TOLD = 100
"""Characters more than a limit that a text may have, to say that it was cut."""
_CREDENTIALS = struct.Struct("3i")
TIMED_OUT = "TimeOutError: code execution timed out"
"""The original's words."""


class LocalKernel(Kernel):
    """One session of a warm parent.

    Args:
        cells: The socket for cells and replies.
        control: The socket of the session's first process.
        limits: What it may use.
        pixels: Images in shared memory.

    Attributes:
        pid: The session's first process, as the host knows it.
        over_memory: Set by who watches its memory before it is killed.
        group: The control group that bounds its memory, if one does.
    """

    def __init__(self, cells: socket.socket, control: socket.socket, limits: Limits, pixels: SharedPixels) -> None:
        self._cells, self._control = cells, control
        self._limits, self._pixels = limits, pixels
        self._shared: list[SharedImage] = []
        self._lock = threading.Lock()
        self._number = 0
        self._closed = False
        self.running = False
        self.over_memory = False
        self.group: MemoryGroup | None = None
        control.settimeout(OPEN_SECONDS)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.pid = -1
        self._pidfd = -1

    def wait_until_born(self) -> None:
        """Wait for the session's first process, and learn its process id from the kernel.

        Raises:
            SandboxError: There is none.
        """
        for level, kind, value in self._expect(BORN):
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                self.pid = _CREDENTIALS.unpack(value)[0]
        self._pidfd = os.pidfd_open(self.pid)

    def start(self) -> None:
        """Let the session begin, once it is watched and has shut itself in.

        Raises:
            SandboxError: It could not.
        """
        self._expect(READY)
        self._control.sendall(GO)

    def _expect(self, sign: bytes) -> list[tuple[int, int, bytes]]:
        """Wait for what a session sends of itself, and return what the kernel says of it."""
        try:
            data, ancillary, _, _ = self._control.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError as error:
            raise SandboxError(f"no session within {OPEN_SECONDS:g} s: {error}") from None
        if data != sign:
            raise SandboxError(f"no session could be set up: {self._failure()}")
        return ancillary

    def _failure(self) -> str:
        self._cells.settimeout(1.0)
        with suppress(OSError, EOFError, BrokenMessageError):
            return str(receive(self._cells, MIB).get("failed"))
        return "the warm parent is gone"

    def execute(self, cell: Cell) -> CellResult:
        """Run a cell; see ``Kernel.execute``."""
        with self._lock:
            if self._closed:
                raise KernelLostError("killed", "the session has ended before", blameless=True)
            if self._has_ended():  # the cell has not begun, and is not to blame
                self.close()
                raise KernelLostError("killed", "the session was ended between cells", blameless=True)
            self._number += 1
            started = time.monotonic()
            self.running = True
            try:
                reply, images = self._exchange(cell, started + cell.seconds + GRACE)
                result = _result(reply, images, time.monotonic() - started, self._limits)
                if self._wanted_too_much():  # a process that the cell had started
                    raise EOFError
                self._control.sendall(CELL_ENDS)
                return result
            except (OSError, EOFError, BrokenMessageError, _WrongReplyError) as error:
                raise self._lost(error, time.monotonic() - started) from None
            finally:
                self.running = False

    def _exchange(self, cell: Cell, deadline: float) -> tuple[dict[str, Any], tuple[Image, ...]]:
        limits = self._limits
        shared = [self._pixels.of(pixels) for _, pixels in cell.bind]
        self._shared += shared
        bind = [{"name": name, "width": pixels.shape[1], "height": pixels.shape[0]} for name, pixels in cell.bind]
        head = {
            "number": self._number,
            "code": cell.code,
            "seconds": cell.seconds,
            "bind": bind,
            "next_image": cell.next_image,
            "stdout": limits.stdout,
            "stderr": limits.stderr,
            "images": limits.images,
            "pixels": limits.image_pixels,
        }
        self._cells.settimeout(max(deadline - time.monotonic(), 0.01))
        self._control.sendall(CELL_BEGINS)
        with ExitStack() as opened:
            fds = [each.opened() for each in shared]
            for fd in fds:
                opened.callback(os.close, fd)
            send(self._cells, head, fds=fds)
        most = 8 * (2 * limits.stdout + limits.stderr) + 65_536
        reply = receive(_Deadline(self._cells, deadline), most)
        if reply.get("number") != self._number:
            raise _WrongReplyError("a reply to another cell")
        sizes = _sizes(reply.get("shown"), limits)
        return reply, tuple(self._image(size, deadline) for size in sizes)

    def _image(self, size: tuple[int, int], deadline: float) -> Image:
        pixels = np.empty((size[1], size[0], 3), np.uint8)
        receive_into(_Deadline(self._cells, deadline), pixels.data.cast("B"))
        return pixels

    def _lost(self, error: Exception, seconds: float) -> KernelLostError:
        status = self._exit_status()
        over_memory = self._wanted_too_much()
        self.close()
        if over_memory:
            most = self._limits.memory // MIB
            return KernelLostError("memory", f"MemoryError: the session used more than {most} MiB", seconds)
        if isinstance(error, TimeoutError):
            return KernelLostError("timeout", TIMED_OUT, seconds)
        if isinstance(error, BrokenMessageError | _WrongReplyError):
            return KernelLostError("protocol", f"the session was ended: its process sent {error}", seconds)
        if status is None or status == -signal.SIGKILL:
            return KernelLostError("killed", "the session's process was killed", seconds, blameless=status is None)
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return KernelLostError("exited", f"the program ended the session's process {how}", seconds)

    def _wanted_too_much(self) -> bool:
        return self.over_memory or (self.group is not None and self.group.exceeded())

    def _has_ended(self) -> bool:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _exit_status(self) -> int | None:
        """Return how the process that runs cells ended, if its parent lived to tell."""
        self._control.settimeout(0.2)
        with suppress(OSError, EOFError, BrokenMessageError):
            status = receive(self._control, 4096).get("exit")
            return status if isinstance(status, int) else None
        return None

    def kill(self) -> None:
        """Kill the session and everything in it at once."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kill the session; may be called again."""
        if self._closed:
            return
        self._closed = True
        if self._pidfd >= 0:
            self.kill()
            os.close(self._pidfd)
            self._pidfd = -1
        self._cells.close()
        self._control.close()
        self._shared.clear()
        if self.group is not None:
            self.group.remove()

    @property
    def alive(self) -> bool:
        """Whether it has not been closed."""
        return not self._closed


class _WrongReplyError(Exception):
    """A reply that no session of ours writes."""


class _Deadline:
    """A socket whose reads together have to end at some time, however slowly bytes drip."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def recv_into(self, view: memoryview) -> int:
        """Receive what has come, or wait for it as long as there is time."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(view)


def _sizes(shown: Any, limits: Limits) -> list[tuple[int, int]]:
    if not isinstance(shown, list) or len(shown) > limits.images:
        raise _WrongReplyError("images that are not announced as they should be")
    sizes = []
    for size in shown:
        if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
            raise _WrongReplyError("an image without a size")
        if size[0] * size[1] > limits.image_pixels:
            raise _WrongReplyError(f"an image of {size[0]} x {size[1]} px")
        sizes.append((size[0], size[1]))
    if sum(width * height for width, height in sizes) > IMAGES_TOGETHER * limits.image_pixels:
        raise _WrongReplyError("more pixels than a cell may show")
    return sizes


def _result(reply: dict[str, Any], images: tuple[Image, ...], seconds: float, limits: Limits) -> CellResult:
    """Check every field of a reply."""
    texts = {name: reply.get(name) for name in ("stdout", "stderr", "result", "error")}
    optional = ("result", "error")
    if not all(isinstance(text, str) or (text is None and name in optional) for name, text in texts.items()):
        raise _WrongReplyError("a reply that is no text")
    most = {"stdout": limits.stdout, "stderr": limits.stderr, "result": limits.stdout, "error": 0}
    if any(len(text or "") > most[name] + _TOLD for name, text in texts.items()):
        raise _WrongReplyError("more text than a cell may print")
    notes = reply.get("notes")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes[:20]):
        raise _WrongReplyError("notes that are no text")
    return CellResult(
        **{name: _clean(text) for name, text in texts.items()},  # type: ignore[arg-type]
        images=images,
        truncated=bool(reply.get("truncated")),
        seconds=seconds,
        notes=tuple(_clean(note)[:200] for note in notes[:20]),  # type: ignore[index]
    )


def _clean(text: str | None) -> str | None:
    """Replace lone surrogates, which JSON can name and no file can hold."""
    return None if text is None else text.encode("utf-8", "replace").decode()


def request_of(limits: Limits, address_space: int, seed: int) -> dict[str, Any]:
    """Return what the warm parent is asked for.

    Args:
        limits: What the session may use.
        address_space: Bytes of address space that the warm parent has by itself.
        seed: What the session's random generators begin with.
    """
    return {
        "disk": limits.disk,
        "file": limits.file,
        "processes": limits.processes,
        "open_files": limits.open_files,
        "address_space": address_space + limits.memory // 8 * 7,  # a MemoryError comes before the end
        "cpu": int(limits.episode_seconds) + 60,
        "seed": seed,
    }
