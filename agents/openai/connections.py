"""Connections: HTTP clients for servers, by event loop, closed with it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from deepeyes_env.judges.llm_endpoint import no_proxy


@dataclass
class _Session:
    """Connections of one event loop.

    Attributes:
        slots: Bounds the number of requests in flight.
        clients: Every client that was made.
        idle: Those that wait for a request, by base URL.
        keeper: Closes the clients with the loop.
    """

    slots: asyncio.Semaphore
    clients: list[Any] = field(default_factory=list)
    idle: defaultdict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    keeper: AsyncGenerator[None, None] | None = None


class Connections:
    """Clients of the ``openai`` package, lent for one request at a time.

    Args:
        api_key: Sent as a bearer token.
        concurrency: Most requests in flight in one event loop.
        timeout: Seconds that a request may take.
        logins: User names and passwords by base URL, for servers that want them instead of the token.
    """

    def __init__(
        self, api_key: str, concurrency: int, timeout: float, logins: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        self._api_key, self._concurrency, self._timeout = api_key, concurrency, timeout
        self._logins = dict(logins or {})
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()

    async def slots(self) -> asyncio.Semaphore:
        """Return what bounds the number of requests in flight in the running loop."""
        return (await self._session()).slots

    @asynccontextmanager
    async def client(self, url: str) -> AsyncIterator[Any]:
        """Lend a client for one request.

        Without TLS each request in flight has a client, and so a pool of connections, of its own: a pool looks at all
        of its connections for every request, a quarter of what the client does when there are 64. With TLS all share
        one, because each would read all certificates.
        """
        session = await self._session()
        idle = session.idle[url]
        if not idle:
            idle.append(self._make_client(url))
            session.clients.append(idle[-1])
        if url.startswith("https://"):
            yield idle[0]
            return
        client = idle.pop()
        try:
            yield client
        finally:
            idle.append(client)

    async def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(asyncio.Semaphore(self._concurrency))
            session.keeper = _closing(session.clients)
            await anext(session.keeper)
        return session

    def _make_client(self, url: str) -> Any:
        import openai

        timeout = openai.Timeout(self._timeout, connect=min(self._timeout, 10.0))
        plain: dict[str, Any] = {} if url.startswith("https://") else {"verify": False, "follow_redirects": False}
        auth = self._logins.get(url)
        http = openai.DefaultAsyncHttpxClient(timeout=timeout, mounts=no_proxy(url), auth=auth, **plain)
        return openai.AsyncOpenAI(api_key=self._api_key, base_url=url, max_retries=0, timeout=timeout, http_client=http)


async def _closing(clients: Sequence[Any]) -> AsyncGenerator[None, None]:
    """Close clients when their event loop shuts down its asynchronous generators, as ``asyncio.run`` makes it do."""
    try:
        yield
    finally:
        for client in clients:
            await client.close()
