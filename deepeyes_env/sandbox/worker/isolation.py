"""From a fork of the warm parent to a session: namespaces, mounts, limits, and no way back.

The order matters. The user namespace comes first, since it gives the right to the others and to mounts; the limit on
processes after it, since before it all sessions share the count; capabilities and system calls are closed last.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepeyes_env.sandbox.worker import kernel_calls as kernel
from deepeyes_env.sandbox.worker.cells import Notebook
from deepeyes_env.sandbox.worker.framing import send
from deepeyes_env.sandbox.worker.init import BORN, READY, InitFiles, run_init

USER = 1000
"""The user that a session sees itself as."""
OUTPUT = "/sandbox/output"
"""Where standard output lies: a file system of its own, so that a program that fills /tmp can still be told so."""

WRITABLE = ("/tmp", "/dev/shm", OUTPUT)
"""Where a session can write, all of it in memory."""

NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
"""What a session has of its own; the first process is forked into them."""
_SCRATCH = kernel.MS_NOSUID | kernel.MS_NODEV


def fork_session(filter_: kernel.Filter, notebook: Notebook, request: dict[str, Any], fds: list[int]) -> None:
    """Fork a session; where that fails, the host is told why.

    Args:
        filter_: The filter of system calls.
        notebook: What runs the cells.
        request: The limits.
        fds: The socket for cells, and the one for the session's first process; closed here.
    """
    user = (os.getuid(), os.getgid())  # inside they have no number, until they are given one
    inside = False
    try:
        inside = kernel.fork_into(NAMESPACES) == 0
        if inside:
            become_session(filter_, notebook, request, fds, user)
    except BaseException as error:
        with suppress(BaseException), socket.socket(fileno=os.dup(fds[0])) as cells:
            send(cells, {"failed": f"{type(error).__name__}: {error}"})
    finally:
        if inside:
            os._exit(1)
        for fd in fds:
            os.close(fd)


def become_session(
    filter_: kernel.Filter, notebook: Notebook, request: dict[str, Any], fds: list[int], user: tuple[int, int]
) -> None:
    """Turn this process, the first of new namespaces, into a session; does not return. See ``fork_session``.

    Args:
        filter_: The filter of system calls.
        notebook: What runs the cells.
        request: The limits.
        fds: The socket for cells, and the one for the session's first process.
        user: User and group outside.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    cells, control = fds
    os.dup2(1, 2)  # what the host reads errors of the warm parent from is no business of a session
    close_all_but(0, 1, 2, cells, control)
    host = socket.socket(fileno=control)
    host.sendall(BORN)  # its sender's process id is told by the kernel
    Path("/proc/self/setgroups").write_text("deny")
    for kind, number in zip(("uid", "gid"), user, strict=True):
        Path(f"/proc/self/{kind}_map").write_text(f"{USER} {number} 1")
    os.setsid()
    mount_all(request)
    files = InitFiles(socket.socket(fileno=cells), host, *open_outputs())
    limit(request)
    kernel.drop_capabilities()
    kernel.no_new_privileges()
    filter_.install()
    kernel.set_dumpable(False)
    host.sendall(READY)
    run_init(files, notebook, request)


def close_all_but(*kept: int) -> None:
    """Close all file descriptors but these."""
    last = -1
    for fd in sorted(kept):
        if fd > last + 1:  # of an empty range Python 3.11 closes everything
            os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, 4096)


def mount_all(request: dict[str, Any]) -> None:
    """Mount what a session may write, and a /proc in which there is only itself."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    disk = f"size={request['disk']},nr_inodes=10000,mode=0700"
    kernel.mount("tmpfs", "/tmp", "tmpfs", _SCRATCH, disk)
    kernel.mount(
        "tmpfs", "/dev/shm", "tmpfs", _SCRATCH | kernel.MS_NOEXEC, f"size={request['disk'] // 4},nr_inodes=1000"
    )
    kernel.mount("tmpfs", OUTPUT, "tmpfs", _SCRATCH | kernel.MS_NOEXEC, f"size={4 * request['file']},nr_inodes=10")
    try:
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    except OSError:  # part of the host's is hidden, as in many containers, and then the kernel gives no new one
        kernel.mount("tmpfs", "/proc", "tmpfs", _SCRATCH | kernel.MS_NOEXEC | kernel.MS_RDONLY, "size=4k")
    os.chdir("/tmp")
    os.environ.update(HOME="/tmp", MPLCONFIGDIR="/tmp/.matplotlib", TMPDIR="/tmp")
    with suppress(OSError):
        socket.sethostname("sandbox")


def open_outputs() -> tuple[int, int]:
    """Open the files that standard output and standard error go to, under no name."""
    fds = []
    for name in ("stdout", "stderr"):
        path = f"{OUTPUT}/{name}"
        fds.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
        Path(path).unlink()
    return fds[0], fds[1]


def limit(request: dict[str, Any]) -> None:
    """Set the limits that the kernel keeps for each process, and the number of processes."""
    for name, value in (
        ("NPROC", request["processes"]),
        ("AS", request["address_space"]),
        ("FSIZE", request["file"]),
        ("NOFILE", request["open_files"]),
        ("CPU", request["cpu"]),
        ("CORE", 0),
        ("MEMLOCK", 0),
        ("SIGPENDING", 256),
        ("MSGQUEUE", 0),
        ("RTPRIO", 0),
        ("STACK", 8 << 20),
    ):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
