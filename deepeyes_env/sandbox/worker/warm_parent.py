"""The warm parent: imports the libraries once, and forks a session for each one that the host asks for.

It runs inside bubblewrap. As root it keeps the right to read the interpreter until its imports are done, and then takes
another user id for good.
"""

from __future__ import annotations

import base64
import functools
import gc
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
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
        settings: ``control``, the host's socket; ``site``, folders of packages; ``uid``, the user to become, or none;
            ``filter``, the filter of system calls.
    """
    control = socket.socket(fileno=settings["control"])
    sys.path += settings["site"]
    started = time.monotonic()
    fork_session = warm_up(base64.b64decode(settings["filter"]))
    if settings["uid"] is not None:
        become(settings["uid"])
    kernel.drop_capabilities(bounding=False)
    kernel.no_new_privileges()
    kernel.set_dumpable(True)  # a change of the user id forbids what the user namespace of a session is set up with
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # sessions that end
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
        fork_session(request, fds)


def warm_up(program: bytes) -> Callable[[dict[str, Any], list[int]], None]:
    """Import what programs mostly need, and use each a little, so that sessions share the memory.

    Args:
        program: The filter of system calls.

    Returns:
        What forks a session, for a request of the host and the two sockets that came with it.
    """
    import warnings

    warnings.filterwarnings("ignore", module="matplotlib")
    for name in LIBRARIES:
        importlib.import_module(name)
    import cv2

    from deepeyes_env.sandbox.worker import isolation
    from deepeyes_env.sandbox.worker.cells import Notebook

    cv2.setNumThreads(1)
    notebook = Notebook()
    notebook.warm_up()
    kernel.let_go_at_fork()
    gc.collect()
    kernel.LIBC.malloc_trim(0)
    gc.freeze()  # a collection in a session would touch, and so copy, every page
    return functools.partial(isolation.fork_session, kernel.Filter(program), notebook)


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
