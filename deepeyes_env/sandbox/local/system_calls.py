"""Which system calls a session cannot make."""

from __future__ import annotations

import ctypes.util
import errno
import functools
import os
import socket
import tempfile
from typing import Any

from deepeyes_env.extras import import_extra
from deepeyes_env.sandbox.kernel import IsolationError
from deepeyes_env.sandbox.worker import kernel_calls as kernel

DENIED = [
    "unshare",
    "setns",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "kcmp",
    "pidfd_getfd",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "seccomp",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "keyctl",
    "add_key",
    "request_key",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "quotactl",
    "quotactl_fd",
    "syslog",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "modify_ldt",
    "name_to_handle_at",
    "open_by_handle_at",
    "fanotify_init",
    "fanotify_mark",
    "lookup_dcookie",
    "nfsservctl",
    "vhangup",
    "uselib",
    "ustat",
    "personality",
    "vmsplice",
    "mbind",
    "migrate_pages",
    "move_pages",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "shmctl",
    "msgget",
    "msgsnd",
    "msgrcv",
    "msgctl",
    "semget",
    "semop",
    "semtimedop",
    "semctl",
    "mq_open",
    "landlock_create_ruleset",
    "mknod",
    "mknodat",
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "setxattrat",
]
"""Refused with EPERM. Anonymous and System V memory is among them: no limit of a process covers it. So is what lets
sessions, which see the same read-only files, tell each other something by them, or see what the host opens.
"""

_F_SETLK, _F_SETLKW, _F_OFD_SETLK, _F_OFD_SETLKW = 6, 7, 37, 38
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_WORD = 0xFFFFFFFF
"""The kernel looks at the lower half of a command only."""

_NEW_NAMESPACES = (
    kernel.CLONE_NEWNS,
    kernel.CLONE_NEWCGROUP,
    kernel.CLONE_NEWUTS,
    kernel.CLONE_NEWIPC,
    kernel.CLONE_NEWUSER,
    kernel.CLONE_NEWPID,
    kernel.CLONE_NEWNET,
)
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
"""Families of sockets that are left: they lead nowhere. Others, AF_VSOCK above all, are not shut in by namespaces."""


@functools.cache
def filter_program() -> bytes:
    """Return the filter as BPF instructions, for this machine's architecture.

    Raises:
        MissingExtraError: pyseccomp is not installed.
        IsolationError: libseccomp is not installed.
    """
    if ctypes.util.find_library("seccomp") is None:
        raise IsolationError("libseccomp is not installed; run: apt-get install libseccomp2")
    seccomp = import_extra("pyseccomp", "sandbox")
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse, missing = seccomp.ERRNO(errno.EPERM), seccomp.ERRNO(errno.ENOSYS)
    for name in DENIED:
        _add(seccomp, rules, refuse, name)
    for flag in _NEW_NAMESPACES:
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    _add(seccomp, rules, missing, "clone3")  # its flags lie in memory, where a filter cannot look; libraries fall back
    last = max(_FAMILIES)
    for family in range(last):
        if family not in _FAMILIES:
            rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.GT, last))
    granted = seccomp.ERRNO(0)  # a lock seems to be had, as databases want it, and is seen by nobody
    _add(seccomp, rules, granted, "flock")
    for lock in (_F_SETLK, _F_SETLKW, _F_OFD_SETLK, _F_OFD_SETLKW):
        rules.add_rule(granted, "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, _WORD, lock))
    for watch in (_F_SETLEASE, _F_NOTIFY):  # a lease on a file of the host's user makes the host wait
        rules.add_rule(refuse, "fcntl", seccomp.Arg(1, seccomp.MASKED_EQ, _WORD, watch))
    for family in range(last):
        if family != socket.AF_UNIX:
            rules.add_rule(refuse, "socketpair", seccomp.Arg(0, seccomp.EQ, family))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0, os.SEEK_SET)
        return file.read()


def _add(seccomp: Any, rules: Any, action: int, name: str) -> None:
    try:
        rules.add_rule(action, name)
    except OSError as error:  # this architecture, or this libseccomp, has no such call: by number, if it is known
        number = _NUMBERS.get(name)
        if number is not None:
            rules.add_rule(action, number)
        elif error.errno not in (errno.EINVAL, errno.EFAULT, errno.EDOM, errno.ENOENT):
            raise


_NUMBERS = {
    "clone3": 435,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "mount_setattr": 442,
    "quotactl_fd": 443,
    "landlock_create_ruleset": 444,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "set_mempolicy_home_node": 450,
    "setxattrat": 463,
}
"""Numbers of newer calls, equal on all architectures, for a libseccomp that does not know their names."""
