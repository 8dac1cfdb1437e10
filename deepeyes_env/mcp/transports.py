"""How messages reach a server: by the pipes of a process, or by HTTP; what comes back is bounded.

The SDK's own transport for processes keeps a line of any length, and takes time that grows with its square; its
transport for HTTP bounds events, and not whole bodies.
"""

from __future__ import annotations

import logging
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from deepeyes_env.extras import needs_extra
from deepeyes_env.mcp.messages import MAX_MESSAGE, TOO_LARGE, Lines, TooLarge

with needs_extra("mcp"):
    import anyio
    import httpx2
    import mcp_types as types
    from anyio.abc import ByteReceiveStream, Process
    from mcp.client.stdio import get_default_environment
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared.message import SessionMessage

GRACE = 2.0
"""Seconds that a server has to end once its standard input is closed, and then once it was told to."""

logger = logging.getLogger(__name__)

_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


@asynccontextmanager
async def process_transport(
    command: Sequence[str], env: Mapping[str, str], cwd: str | None, said: deque[str]
) -> AsyncIterator[Any]:
    """Start a server, and yield the streams of its messages; it and what it started are ended on leaving.

    Args:
        command: The program and its arguments.
        env: Variables that it gets beside the few that are inherited, as the SDK has it.
        cwd: Its working directory.
        said: Gets what it writes to standard error, line by line.

    Raises:
        OSError: It cannot be started.
    """
    process = await anyio.open_process(
        list(command), env=get_default_environment() | dict(env), cwd=cwd, start_new_session=True
    )
    to_session, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    from_session, sent = anyio.create_memory_object_stream[SessionMessage](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process, to_session)
        tasks.start_soon(_write, process, sent, to_session)
        tasks.start_soon(_listen, process.stderr, said)
        try:
            yield received, from_session
        finally:
            with anyio.CancelScope(shield=True):
                await received.aclose()
                await from_session.aclose()
                await _end(process)
            tasks.cancel_scope.cancel()


async def _read(process: Process, to_session: Any) -> None:
    lines = Lines()
    with suppress(*_CLOSED):
        async with to_session:
            assert process.stdout is not None
            async for chunk in process.stdout:
                for line in lines.feed(chunk):
                    message = _message(line)
                    if message is None:
                        return
                    await to_session.send(message)


def _message(line: bytes | TooLarge) -> SessionMessage | Exception | None:
    """Return what the session gets for a line; ``None`` if it can wait for a reply no longer."""
    if isinstance(line, TooLarge):
        if line.request is None:
            return None
        error = types.ErrorData(code=types.INTERNAL_ERROR, message=TOO_LARGE)
        return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=line.request, error=error))
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:  # a line that is no message, as programs print that know no better
        return error


async def _write(process: Process, sent: Any, to_session: Any) -> None:
    try:
        async with sent:
            assert process.stdin is not None
            async for each in sent:
                await process.stdin.send(
                    each.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                )
    except _CLOSED:  # the server has ended: nobody is to wait for its replies
        await to_session.aclose()


async def _listen(errors: ByteReceiveStream | None, said: deque[str]) -> None:
    lines = Lines(4096)
    with suppress(*_CLOSED):
        assert errors is not None
        async for chunk in errors:
            for line in lines.feed(chunk):
                if isinstance(line, bytes) and line.strip():
                    said.append(line.decode("utf-8", "replace").strip())
                    logger.debug("%s", said[-1])


async def _end(process: Process) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(*_CLOSED):
            if stream is not None:
                await stream.aclose()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        with anyio.move_on_after(GRACE):
            while process.returncode is None:
                await anyio.sleep(0.02)
        if process.returncode is not None:
            break
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what the server has started and left behind


@asynccontextmanager
async def http_transport(url: str, headers: Mapping[str, str], timeout: float) -> AsyncIterator[Any]:
    """Yield the streams of messages to and from a server at a URL (streamable HTTP).

    Args:
        url: Where it is.
        headers: What requests carry beside what the protocol wants.
        timeout: Seconds that it may be silent in a reply.
    """
    limits = httpx2.Timeout(min(timeout, 30.0), read=timeout)
    client = httpx2.AsyncClient(headers=dict(headers), timeout=limits, transport=_Bounded())
    async with client, streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams:
        yield streams


class _Bounded(httpx2.AsyncHTTPTransport):
    """Refuses bodies that are too large; a stream of events has a bound for each."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; the reply's body can be read up to the bound."""
        response = await super().handle_async_request(request)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _BoundedStream(response.stream)
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for chunk in self._stream:
            length += len(chunk)
            if length > MAX_MESSAGE:
                raise httpx2.StreamError(TOO_LARGE)
            yield chunk

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()
