"""The first process of a session: starts the one that runs cells, and sees to it that nothing runs between cells.

The kernel lets no process of its namespace stop or kill it, and when it ends, everything in there ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from deepeyes_env.sandbox.worker import kernel_calls as kernel
from deepeyes_env.sandbox.worker.cells import Notebook
from deepeyes_env.sandbox.worker.framing import send

GO, CELL_BEGINS, CELL_ENDS = b"g", b"b", b"e"
"""What the host sends: set up is done; a cell comes; its reply is here."""
BORN, READY = b"n", b"r"
"""What a session sends, before it sets itself up and after."""


class InitFiles(NamedTuple):
    """The sockets and files of a session.

    Attributes:
        cells: Where cells come and replies go.
        control: Where the host says when a cell begins and ends.
        stdout: File of standard output.
        stderr: File of standard error.
    """

    cells: socket.socket
    control: socket.socket
    stdout: int
    stderr: int


def run_init(files: InitFiles, notebook: Notebook, request: dict[str, Any]) -> None:
    """Start the process that runs cells, and watch over it; does not return."""
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # Python's own
        signal.signal(number, signal.SIG_DFL)
    if files.control.recv(1) != GO:
        os._exit(0)
    gate, opener = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(opener)
        _become_worker(files, gate, notebook, request)
    os.close(gate)
    files.cells.close()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    os.set_blocking(opener, False)
    poll = select.poll()
    poll.register(files.control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == wake:
                with suppress(BlockingIOError):
                    os.read(wake, 4096)
                _reap(worker, files.control)
            else:
                order = files.control.recv(1)
                if not order:
                    os._exit(0)
                if order == CELL_BEGINS:
                    os.kill(worker, signal.SIGCONT)
                    os.write(opener, b".")
                elif order == CELL_ENDS:
                    _still(worker)


def _become_worker(files: InitFiles, gate: int, notebook: Notebook, request: dict[str, Any]) -> None:
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # an error, as in any Python
            signal.signal(number, signal.SIG_IGN)
        files.control.close()
        kernel.set_dumpable(True)  # or it could not read its own /proc
        notebook.begin(files.stdout, files.stderr, request["seed"])
        notebook.serve(files.cells, gate)
    finally:
        os._exit(0)


def _reap(worker: int, control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == worker:
            with suppress(OSError):
                send(control, {"exit": os.waitstatus_to_exitcode(status)})
            os._exit(0)


def _still(worker: int) -> None:
    """Stop everything, and kill all but the process that runs cells: threads keep their place, processes do not."""
    with suppress(OSError):
        os.kill(-1, signal.SIGSTOP)
    for _ in range(3):
        others = [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]
        others = [pid for pid in others if pid not in (1, worker)]
        if not others:
            return
        for pid in others:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
