"""RayAgent: Ray's own process on this machine (the raylet), without which nothing can be asked of actors."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from deepeyes_env.envs.vector.actor import get_ray
from deepeyes_env.errors import RayLostError

logger = logging.getLogger(__name__)

_PAUSE = 0.2
"""Seconds between looks at a raylet that has closed a connection and still takes others."""

LOST = (
    "Ray's own process on this machine (raylet) has ended: it was killed, or there was no memory left. What was "
    "written stays; begin again, and resume the run where there is one"
)


class RayAgent:
    """Notices at once that the raylet has ended, tells it, and keeps Ray from ending this process without a word.

    Ray does that about a quarter of a minute later, when the cluster takes this machine for dead, from a thread of its
    own: nothing can be caught, and nothing written. So Ray is shut down before that, as soon as no call of it is under
    way; it stays as it is where somebody else has started it.

    Calls of Ray stand in ``with agent:``.

    Attributes:
        lost: Whether the raylet has ended.

    Args:
        ours: Whether Ray may be shut down here.
    """

    def __init__(self, ours: bool) -> None:
        self.lost = False
        self._ours = ours
        self._calling = threading.RLock()
        self._path = _socket_path()
        self._line = _connected(self._path)
        if self._line is not None:
            threading.Thread(target=self._watch, args=(self._line,), name="raylet", daemon=True).start()

    def __enter__(self) -> None:
        self._calling.acquire()
        if self.lost:
            self._calling.release()
            raise RayLostError(LOST)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._calling.release()
        if isinstance(error, get_ray().exceptions.RayError):
            self.check(error)

    def check(self, cause: BaseException) -> None:
        """See whether an error of Ray comes of this.

        Raises:
            RayLostError: It does.
        """
        if self.lost or (self._line is not None and not _listens(self._path)):
            raise RayLostError(LOST) from cause

    def close(self) -> None:
        """Watch no longer."""
        line, self._line = self._line, None
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _watch(self, line: socket.socket) -> None:
        with suppress(OSError):
            line.recv(1)  # it never says anything: this returns when it has ended, or upon ``close``
        while self._line is not None and _listens(self._path):
            time.sleep(_PAUSE)  # a process that ends closes its sockets one by one: this one may be the last
        if self._line is None:
            return
        self.lost = True
        logger.error(LOST)
        with self._calling:
            if self._ours and self._line is not None:
                get_ray().shutdown()


def _socket_path() -> str:
    """Return the address of the raylet's socket on this machine; empty where there is none."""
    ray = get_ray()
    mine = ray.get_runtime_context().get_node_id()
    found: list[Any] = [node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == mine]
    return str(found[0]) if found else ""


def _connected(path: str) -> socket.socket | None:
    """Return a connection to a socket; ``None`` where nobody listens, as on Windows, or where Ray is elsewhere."""
    if not path or not hasattr(socket, "AF_UNIX"):
        return None
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(path)
    except OSError:
        line.close()
        return None
    return line


def _listens(path: str) -> bool:
    line = _connected(path)
    if line is not None:
        line.close()
    return line is not None
