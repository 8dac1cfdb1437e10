"""How bubblewrap is called: what the warm parent gets to see of the host."""

from __future__ import annotations

import base64
import json
import os
import shutil
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepeyes_env.sandbox import worker
from deepeyes_env.sandbox.kernel import IsolationError

NOBODY = 65534
"""The user that a warm parent started by root becomes."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_ETC = ("/etc/ld.so.cache", "/etc/fonts", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_HIDDEN = ("/tmp", "/dev", "/proc", "/sandbox")
"""What lies below these is bound elsewhere: a session mounts over them."""
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MALLOC_MMAP_THRESHOLD_": "131072",  # what is large goes back to the system when it is freed
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp/.matplotlib",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
}


def find_bubblewrap() -> str:
    """Return the path of bubblewrap.

    Raises:
        IsolationError: It is not installed, or this is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise IsolationError(
            f"programs are shut in by Linux namespaces, and this is {sys.platform}; "
            "use a code server on Linux: sandbox='http', url=... (deepeyes sandbox --port)"
        )
    found = shutil.which("bwrap")
    if found is None:
        raise IsolationError("bubblewrap is not installed; run: apt-get install bubblewrap libseccomp2")
    return found


def command(bubblewrap: str, control: int, program: bytes) -> list[str]:
    """Return the command line of a warm parent.

    Args:
        bubblewrap: Path of bubblewrap.
        control: File descriptor of the socket over which the host speaks to it.
        program: The filter of system calls for sessions.
    """
    root = os.getuid() == 0
    python, prefix = _interpreter()
    packages = _package_folders()
    inside = [f"/sandbox/site/{position}" for position in range(len(packages))]
    settings: dict[str, Any] = {"control": control, "site": inside, "uid": NOBODY if root else None}
    settings["filter"] = base64.b64encode(program).decode()
    line = [bubblewrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    line += ["--die-with-parent", "--new-session", "--as-pid-1", "--clearenv", "--cap-drop", "ALL"]
    if root:  # mounts as root, since an interpreter may lie where only root may look; gives it up after its imports
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
    environment = dict(_ENVIRONMENT)
    target = _visible(prefix, "/sandbox/python")
    if target != prefix:
        environment["LD_LIBRARY_PATH"] = f"{target}/lib"
    for name, value in environment.items():
        line += ["--setenv", name, value]
    line += [*_system(), *_devices(), "--bind", "/proc", "/proc", "--tmpfs", "/tmp", "--dir", "/sandbox/output"]
    binds = [*zip(packages, inside, strict=True), (str(Path(worker.__file__).parent), "/sandbox/worker")]
    if not prefix.startswith("/usr"):
        binds.insert(0, (prefix, target))
    made: set[str] = set()
    for source, destination in binds:
        for parent in reversed(Path(destination).parents):
            if str(parent) not in made | {"/"}:  # bubblewrap would make it for root alone
                made.add(str(parent))
                line += ["--perms", "0755", "--dir", str(parent)]
        line += ["--ro-bind", source, destination]
    line += ["--remount-ro", "/", "--chdir", "/tmp", "--"]
    line += [target + python.removeprefix(prefix), "-I", "-S", "/sandbox/worker/boot.py", json.dumps(settings)]
    return line


def _interpreter() -> tuple[str, str]:
    """Return the path of the interpreter, without its virtual environment, and its prefix."""
    prefix = os.path.realpath(sys.base_prefix)
    python = os.path.realpath(sys.executable)
    if not python.startswith(f"{prefix}/"):
        python = f"{prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    return python, prefix


def _package_folders() -> list[str]:
    """Return the folders in which packages are installed, in the order of ``sys.path``."""
    known = {os.path.realpath(folder) for folder in (*site.getsitepackages(), site.getusersitepackages())}
    named = [path for path in map(os.path.realpath, sys.path) if path.endswith(("site-packages", "dist-packages"))]
    return list(dict.fromkeys(path for path in (*named, *sorted(known)) if Path(path).is_dir()))


def _visible(path: str, otherwise: str) -> str:
    return otherwise if path.startswith(tuple(f"{each}/" for each in _HIDDEN)) else path


def _system() -> Iterator[str]:
    for folder in _SYSTEM:
        if Path(folder).is_symlink():
            yield from ("--symlink", str(Path(folder).readlink()), folder)
        elif Path(folder).is_dir():
            yield from ("--ro-bind", folder, folder)
    yield from ("--perms", "0755", "--dir", "/etc")
    for path in _ETC:
        yield from ("--ro-bind-try", path, path)


def _devices() -> Iterator[str]:
    yield from ("--perms", "0755", "--tmpfs", "/dev", "--perms", "0755", "--dir", "/dev/shm")
    for name in _DEVICES:
        yield from ("--dev-bind", f"/dev/{name}", f"/dev/{name}")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        yield from ("--symlink", f"/proc/self/fd{target}", f"/dev/{name}")
    yield from ("--remount-ro", "/dev")


def remedy(output: str, line: Sequence[str]) -> str:
    """Return what to do about a warm parent that did not start, from what it wrote."""
    told = " ".join(output.split())[-400:] or "it wrote nothing"
    if any(word in output for word in ("namespace", "Operation not permitted", "Permission denied", "No permissions")):
        return (
            f"bubblewrap may not make namespaces here ({told}); allow them: sysctl user.max_user_namespaces=10000, "
            "kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0 where they exist; "
            "in a container: --security-opt seccomp=unconfined --cap-add SYS_ADMIN; "
            "or use a code server elsewhere: sandbox='http', url=..."
        )
    if "ModuleNotFoundError" in output:
        return f"the sandbox's libraries are not all installed ({told}); run: pip install 'deepeyes-env[sandbox]'"
    return f"the warm parent did not start ({told}); command: {' '.join(line)[:200]}"
