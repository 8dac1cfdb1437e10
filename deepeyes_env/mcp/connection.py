"""Connection: a session with a server, on the event loop that all of a process share, for threads to call."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from deepeyes_env.errors import ToolServerError
from deepeyes_env.extras import import_extra
from deepeyes_env.telling import quoted

if TYPE_CHECKING:
    from deepeyes_env.mcp.source import McpTools

T = TypeVar("T")

_LAST_WORDS = 3.0  # seconds that all servers together have to end when this process does


class _Loop:
    """An event loop in a thread of its own, and the connections that live on it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.open: set[Connection] = set()
        self.shared: dict[McpTools, Connection] = {}
        threading.Thread(target=self.loop.run_forever, name="mcp", daemon=True).start()


_lock = threading.Lock()
_running: list[_Loop] = []


def _here() -> _Loop:
    with _lock:
        if not _running:
            _running.append(_Loop())
        return _running[0]


def _forget() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it
    _running.clear()


@atexit.register
def _end_all() -> None:
    for each in _running:
        ending = [connection.close() for connection in tuple(each.open)]
        for future in ending:
            with suppress(Exception):
                future.result(_LAST_WORDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Connection:
    """A session with a server. Threads may share it.

    Args:
        server: Which server, and its limits.

    Raises:
        ToolServerError: It cannot be reached, or has not answered in time.
        MissingExtraError: The SDK is not installed.
    """

    def __init__(self, server: McpTools) -> None:
        import_extra("mcp", "mcp")  # here, so that it counts to no limit of time
        self.server = server
        self._said: deque[str] = deque(maxlen=20)
        self._here = _here()
        self._closing = False
        self._stop = asyncio.Event()
        self._client: Any = None
        self._ended: Future[None] = Future()
        self._ready: Future[None] = Future()
        self._here.open.add(self)
        self._task = asyncio.run_coroutine_threadsafe(self._live(), self._here.loop)
        try:
            self._ready.result(server.timeout)
        except TimeoutError:
            self.close()
            raise self._failure(f"has not answered within {server.timeout:g} seconds") from None
        except Exception as error:
            raise self._failure(f"cannot be reached: {_told(error)}") from error
        except BaseException:  # the user interrupts
            self.close()
            raise

    @classmethod
    def shared(cls, server: McpTools) -> Connection:
        """Return the connection that the episodes of this process share; a new one if the last has ended.

        Raises:
            ToolServerError: As for a new one.
        """
        here = _here()
        with _lock:
            found = here.shared.get(server)
        if found is not None and not found.ended:
            return found
        made = cls(server)
        with _lock:
            found = here.shared.get(server)
            if found is None or found.ended:
                here.shared[server] = made
                return made
        made.close()  # another thread was first
        return found

    @property
    def ended(self) -> bool:
        """Whether it takes no more calls."""
        return self._closing or self._ended.done()

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool; returns the SDK's ``CallToolResult``.

        Raises:
            TimeoutError: It has not returned in time.
            Exception: What the SDK raises: the server refused, ended, or sent what is no result.
        """
        return self._run(self._client.call_tool(name, arguments))

    def list_tools(self, most: int) -> list[Any]:
        """Return the server's tools.

        Args:
            most: How many there may be.

        Raises:
            ToolServerError: There are more, or the server does not say.
        """
        try:
            return self._run(self._list(most))
        except TimeoutError:
            raise self._failure(f"has not named its tools within {self.server.timeout:g} seconds") from None
        except ToolServerError:
            raise
        except Exception as error:
            raise self._failure(f"does not name its tools: {_told(error)}") from error

    async def _list(self, most: int) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        for _ in range(most):
            page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) > most:
                break
        if cursor or len(found) > most:
            raise self._failure(f"has more than {most} tools, or never stops naming them")
        return found

    def close(self) -> Future[None]:
        """End it, without waiting; returns what to wait for."""
        self._closing = True
        with suppress(RuntimeError):  # the loop has ended with the interpreter
            self._here.loop.call_soon_threadsafe(self._stop.set)
            if not self._ready.done():
                self._here.loop.call_soon_threadsafe(self._task.cancel)
        return self._ended

    async def _live(self) -> None:
        try:
            from mcp import Client

            from deepeyes_env.mcp.transports import http_transport, process_transport

            server = self.server
            transport = (
                http_transport(server.url, dict(server.headers), server.timeout)
                if server.url
                else process_transport(server.command, dict(server.env), server.cwd, self._said)
            )
            async with Client(transport) as self._client:
                self._ready.set_result(None)
                await self._stop.wait()
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(_first(error))
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        finally:
            self._here.open.discard(self)
            self._ended.set_result(None)

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        waiting = asyncio.wait_for(coroutine, self.server.timeout)
        future = asyncio.run_coroutine_threadsafe(waiting, self._here.loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def _failure(self, what: str) -> ToolServerError:
        last = f"; it said last: {quoted(self._said[-1])}" if self._said else ""
        return ToolServerError(f"the tool server {self.server} {what}{last}")


def _first(error: BaseException) -> BaseException:
    """Return the first error of a group, which is what the SDK's tasks end in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return ConnectionError("it was closed") if isinstance(error, asyncio.CancelledError) else error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
