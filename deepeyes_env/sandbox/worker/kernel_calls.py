"""The Linux calls that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
_HOLDING = ctypes.PyDLL(None, use_errno=True)
"""The same, called without letting go of the interpreter's lock."""

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAP = 63
_SYS_CLONE3 = 435  # on every architecture


class _CloneArguments(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")
    )


def fork_into(namespaces: int) -> int:
    """Fork, and return the child's process id, or 0 in the child, which is the first process of new namespaces.

    ``unshare`` would need a process more between the two, for the namespace of processes, and a fork of a large process
    is dear. Nothing that runs at forks (``os.register_at_fork``) runs: the child is for code of ours. What it forks by
    ``os.fork`` is whole again. Call ``let_go_at_fork`` before.

    Args:
        namespaces: Flags of ``clone``.

    Raises:
        OSError: The kernel refuses.
    """
    arguments = _CloneArguments(flags=namespaces, exit_signal=signal.SIGCHLD)
    pid = _HOLDING.syscall(ctypes.c_long(_SYS_CLONE3), ctypes.byref(arguments), ctypes.sizeof(arguments))
    _checked(min(pid, 0), "clone3")
    return int(pid)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount a file system.

    Raises:
        OSError: The kernel refuses.
    """
    encoded = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _checked(LIBC.mount(*encoded[:3], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


def set_dumpable(dumpable: bool) -> None:
    """Whether other processes of the same user may look into this one."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def no_new_privileges() -> None:
    """From now on no program that is started gains privileges."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities(bounding: bool = True) -> None:
    """Give up every capability for good; with ``bounding``, for whatever is started too."""
    if bounding:
        for capability in range(_LAST_CAP + 1):
            LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # the kernel knows fewer than it has bits for
    LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(LIBC.capset(header, (ctypes.c_uint32 * 6)()), "capset")


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def let_go_at_fork() -> None:
    """Let libraries let go of what they may not keep over a fork, files above all, without one.

    If it happened in a session, numbers of files that it has meanwhile opened would be closed.
    """
    ctypes.pythonapi.PyOS_BeforeFork()
    ctypes.pythonapi.PyOS_AfterFork_Child()


class Filter:
    """A seccomp filter.

    Args:
        program: BPF instructions of eight bytes each.
    """

    def __init__(self, program: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(program, len(program))
        self._program = _Program(len(program) // 8, ctypes.cast(self._instructions, ctypes.c_void_p))

    def install(self) -> None:
        """Install it, in this process and all that it starts.

        Raises:
            OSError: The kernel refuses.
        """
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._program))


def _prctl(option: int, *arguments: Any) -> None:
    values = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    values += [ctypes.c_ulong(0)] * (4 - len(values))
    _checked(LIBC.prctl(option, *values), f"prctl {option}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
