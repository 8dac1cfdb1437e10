"""HTTP/1.1 without TLS: a connection to a model server, kept open, at a tenth of what a general client costs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from deepeyes_env.extras import needs_extra
from deepeyes_env.judges.llm_endpoint import on_this_machine

with needs_extra("openai"):
    import h11

_READ = 2**16
"""Bytes that are read at once."""

_LONGEST_HEAD = 2**17

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}
"""Seconds and counts, as of the ``openai`` package, so that nothing on the way forgets a connection that waits."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered.

    Attributes:
        status: HTTP status.
        headers: Headers by their names in lower case.
        content: The body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class PlainConnection:
    """A connection for one request at a time, opened when it is needed and again when the server closed it.

    Args:
        url: Base URL; paths are added to it.
        headers: Sent with every request.
        connect_timeout: Seconds that connecting may take.
    """

    def __init__(self, url: str, headers: Mapping[str, str], connect_timeout: float) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port or 80, parts.path
        self._headers = [("Host", parts.netloc.rpartition("@")[2]), *headers.items()]
        self._connect_timeout = connect_timeout
        self._http = h11.Connection(h11.CLIENT, _LONGEST_HEAD)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, pieces: Sequence[bytes] = ()) -> Response:
        """Send a request and return what the server answers, whatever its status.

        Args:
            method: ``GET`` or ``POST``.
            path: Added to the base URL.
            pieces: The body, as JSON.

        Raises:
            ConnectionRefusedError: There is no server, or none that can be reached.
            ConnectionResetError: The connection was lost, or what came is no HTTP.
        """
        try:
            reader, writer = await self._opened()
            head = h11.Request(method=method, target=self._path + path, headers=self._headers_for(pieces))
            with contextlib.suppress(ConnectionError):  # it may have answered before it heard all
                for event in (head, *(h11.Data(data=piece) for piece in pieces), h11.EndOfMessage()):
                    if data := self._http.send(event):
                        writer.write(data)
                await writer.drain()
            response = await self._received(reader)
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
            else:
                self.close()
            return response
        except h11.RemoteProtocolError as error:
            self.close()
            raise ConnectionResetError(str(error)) from error
        except BaseException:  # also where the request is given up: what is on its way belongs to no other
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def _headers_for(self, pieces: Iterable[bytes]) -> list[tuple[str, str]]:
        length = sum(map(len, pieces))
        body = [("Content-Type", "application/json"), ("Content-Length", str(length))] if length else []
        return [*self._headers, ("Accept", "application/json"), *body]

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None or writer.is_closing() or reader.at_eof():
            self.close()
            self._http = h11.Connection(h11.CLIENT, _LONGEST_HEAD)
            reader, writer = self._reader, self._writer = await self._connected()
        return reader, writer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            opening = asyncio.open_connection(self._host, self._port, happy_eyeballs_delay=0.25)
            reader, writer = await asyncio.wait_for(opening, self._connect_timeout)
        except (OSError, UnicodeError) as error:  # TimeoutError and names that nobody knows are among them
            raise ConnectionRefusedError(str(error) or f"not within {self._connect_timeout:g} s") from error
        opened: socket.socket = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                opened.setsockopt(socket.IPPROTO_TCP, option, value)
        return reader, writer

    async def _received(self, reader: asyncio.StreamReader) -> Response:
        status, headers, content = 0, dict[str, str](), list[bytes]()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(await reader.read(_READ))
                except ConnectionError as error:  # also one that was met in sending
                    raise h11.RemoteProtocolError(str(error)) from error
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                content.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Response(status, headers, b"".join(content))
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError(f"the server closed the connection ({event})")


def is_plain(url: str) -> bool:
    """Return whether a server is asked without TLS and without a proxy of the environment."""
    if not url.startswith("http://"):
        return False
    proxies = getproxies()
    if on_this_machine(url) or not (proxies.get("http") or proxies.get("all")):
        return True
    return bool(proxy_bypass(urlsplit(url).netloc.rpartition("@")[2]))
