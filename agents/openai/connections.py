"""Connections: to servers, by event loop, closed with it; over TLS and proxies by the ``openai`` package's client."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from deepeyes_env.agents.openai.requests import RequestBody
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.extras import import_extra
from deepeyes_env.judges.llm_endpoint import no_proxy

if TYPE_CHECKING:
    from deepeyes_env.agents.openai.plain_http import PlainConnection, Response

_CONNECT = 10.0
"""Seconds that connecting may take."""


class StatusError(DeepEyesError):
    """A server answered with another status than success.

    Attributes:
        status: The status.
        headers: Headers of the answer by their names in lower case.
        body: What it said: JSON, or text.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: object) -> None:
        self.status, self.headers, self.body = status, headers, body
        super().__init__(f"{status}: {body}")


class UnreachableError(DeepEyesError):
    """A connection was lost or could not be made.

    Attributes:
        refused: Whether nobody listens, rather than that a connection was lost.
    """

    def __init__(self, words: str, *, refused: bool) -> None:
        self.refused = refused
        super().__init__(words)


@dataclass
class _Session:
    """Connections of one event loop.

    Attributes:
        slots: Bounds the number of requests in flight.
        plain: Every connection without TLS.
        idle: Those that wait for a request, by base URL.
        clients: Clients for TLS and proxies, by base URL; each has connections of its own.
        keeper: Closes all with the loop.
    """

    slots: asyncio.Semaphore
    plain: list[PlainConnection] = field(default_factory=list)
    idle: defaultdict[str, list[PlainConnection]] = field(default_factory=lambda: defaultdict(list))
    clients: dict[str, Any] = field(default_factory=dict)
    keeper: AsyncGenerator[None, None] | None = None


class Connections:
    """Asks servers for JSON, with as many requests at once as are allowed.

    Args:
        api_key: Sent as a bearer token.
        concurrency: Most requests in flight in one event loop.
        timeout: Seconds that a request may take.
        logins: User names and passwords by base URL, for servers that want them instead of the token.

    Raises:
        MissingExtraError: ``openai`` is not installed.
    """

    def __init__(
        self, api_key: str, concurrency: int, timeout: float, logins: Mapping[str, tuple[str, str]] | None = None
    ) -> None:
        self._openai = import_extra("openai", "openai")
        self._http = import_extra("deepeyes_env.agents.openai.plain_http", "openai")  # needs h11, as openai does
        self._api_key, self._concurrency, self._timeout = api_key, concurrency, timeout
        self._logins = dict(logins or {})
        self._plain: dict[str, bool] = {}
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, _Session] = WeakKeyDictionary()

    async def slots(self) -> asyncio.Semaphore:
        """Return what bounds the number of requests in flight in the running loop."""
        return (await self._session()).slots

    async def ask(self, url: str, path: str, body: RequestBody | None = None, *, timeout: float | None = None) -> Any:
        """Return what a server answers, as JSON.

        Args:
            url: Its base URL.
            path: Added to it.
            body: What is posted; ``None`` to get.
            timeout: Seconds that it may take, if not those of all requests.

        Raises:
            StatusError: It answers with another status than success.
            UnreachableError: It cannot be reached, or the connection was lost.
            TimeoutError: No answer came in time.
            ValueError: It answers with something else than JSON.
            RecursionError: With JSON that is nested too deeply.
        """
        seconds = self._timeout if timeout is None else timeout
        if url not in self._plain:
            self._plain[url] = self._http.is_plain(url)
        async with asyncio.timeout(seconds):  # limits of a client bound each read, not the whole
            ask = self._ask_plainly if self._plain[url] else self._ask_by_client
            return await ask(url, path, body)

    async def _ask_plainly(self, url: str, path: str, body: RequestBody | None) -> Any:
        async with self._connection(url) as connection:
            try:
                method, pieces = ("GET", ()) if body is None else ("POST", body.pieces)
                response = await connection.request(method, path, pieces)
            except ConnectionError as error:
                raise UnreachableError(str(error), refused=isinstance(error, ConnectionRefusedError)) from error
        if not 200 <= response.status < 300:
            raise StatusError(response.status, response.headers, _said(response))
        return json.loads(response.content)

    async def _ask_by_client(self, url: str, path: str, body: RequestBody | None) -> Any:
        openai, client = self._openai, await self._client(url)
        try:
            if body is None:
                return await client.get(path, cast_to=object)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            return await client.post(path, content=body, cast_to=object, options={"headers": headers})
        except openai.APITimeoutError as error:
            raise TimeoutError from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            refused = "connect" in type(cause).__name__.lower()
            raise UnreachableError(str(cause) or type(cause).__name__, refused=refused) from error
        except openai.APIStatusError as error:
            raise StatusError(error.status_code, error.response.headers, error.body or error.message) from error

    @asynccontextmanager
    async def _connection(self, url: str) -> AsyncIterator[PlainConnection]:
        """Lend a connection for one request."""
        session = await self._session()
        idle = session.idle[url]
        if not idle:
            login = self._logins.get(url)
            token = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}" if login else ""
            headers = {"Authorization": token or f"Bearer {self._api_key}"}
            idle.append(self._http.PlainConnection(url, headers, min(self._timeout, _CONNECT)))
            session.plain.append(idle[-1])
        connection = idle.pop()
        try:
            yield connection
        finally:
            idle.append(connection)

    async def _client(self, url: str) -> Any:
        session = await self._session()
        if url not in session.clients:
            timeout = self._openai.Timeout(self._timeout, connect=min(self._timeout, _CONNECT))
            http = self._openai.DefaultAsyncHttpxClient(
                timeout=timeout, mounts=no_proxy(url), auth=self._logins.get(url)
            )
            session.clients[url] = self._openai.AsyncOpenAI(
                api_key=self._api_key, base_url=url, max_retries=0, timeout=timeout, http_client=http
            )
        return session.clients[url]

    async def _session(self) -> _Session:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _Session(asyncio.Semaphore(self._concurrency))
            session.keeper = _closing(session)
            await anext(session.keeper)
        return session


async def _closing(session: _Session) -> AsyncGenerator[None, None]:
    """Close connections when their event loop shuts down its asynchronous generators, as ``asyncio.run`` does."""
    try:
        yield
    finally:
        for connection in session.plain:
            connection.close()
        for client in session.clients.values():
            await client.close()


def _said(response: Response) -> object:
    """Return what a server said of an error, as the ``openai`` package reads it."""
    text = response.content.decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text or f"Error code: {response.status}"
    return said.get("error", said) if isinstance(said, dict) else said
