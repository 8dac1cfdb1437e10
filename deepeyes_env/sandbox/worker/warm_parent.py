"""The warm parent: imports the libraries once, and forks a session for each one that the host asks for.

It runs inside bubblewrap. As root it keeps the right to read the interpreter until its imports are done, and then takes
another user id for good.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepeyes_env.sandbox.worker import kernel_calls as kernel
from deepeyes_env.sandbox.worker.framing import receive_with_fds, send

MAX_REQUEST = 1 << 20
LOOK_SECONDS = 0.5
"""How often it looks whether bubblewrap is still there, while nothing else is to be done."""
LIBRARIES = ("numpy", "PIL.Image", "matplotlib.pyplot", "scipy.ndimage", "cv2", "stack_data")


def main(settings: dict[str, Any]) -> None:
    """Warm up, tell the host, and serve it until it is gone.

    Args:
        settings: ``control``, the host's socket; ``site``, folders of packages; ``uid``, the user to become, or none.
    """
    control = socket.socket(fileno=settings["control"])
    sys.path += settings["site"]
    started = time.monotonic()
    warm_up()
    if settings["uid"] is not None:
        become(settings["uid"])
    kernel.drop_capabilities(bounding=False)
    kernel.no_new_privileges()
    kernel.set_dumpable(True)  # a change of the user id forbids what the user namespace of a session is set up with
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # of those that only fork on
    send(control, {"ready": time.monotonic() - started, "memory": virtual_memory()})
    control.settimeout(LOOK_SECONDS)
    bubblewrap = parent_pid()
    while True:
        try:
            request, fds = receive_with_fds(control, MAX_REQUEST)
        except TimeoutError:
            if parent_pid() != bubblewrap:
                return
            continue
        except EOFError:
            return
        if os.fork() == 0:
            try:
                from deepeyes_env.sandbox.worker.isolation import become_session

                become_session(request, fds)
            except BaseException as error:
                with suppress(BaseException):
                    send(socket.socket(fileno=fds[0]), {"failed": f"{type(error).__name__}: {error}"})
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)


def warm_up() -> None:
    """Import what programs mostly need, and use each a little, so that sessions share the memory."""
    import warnings

    warnings.filterwarnings("ignore", module="matplotlib")
    for name in LIBRARIES:
        importlib.import_module(name)
    import cv2

    from deepeyes_env.sandbox.worker import cells, init, isolation  # noqa: F401  (for the sessions)
    from deepeyes_env.sandbox.worker.display import Display

    cv2.setNumThreads(1)
    cells.warm_up()
    Display().warm_up()
    gc.collect()
    kernel.LIBC.malloc_trim(0)
    gc.freeze()  # a collection in a session would touch, and so copy, every page


def become(uid: int) -> None:
    """Take another user id and its group for good."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def parent_pid() -> int:
    """Return the process id of the parent, as the host counts.

    A bubblewrap that is killed cannot take this process along: its signal needs a right over another user's process.
    """
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[1])


def virtual_memory() -> int:
    """Return the size of this process's address space in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")
