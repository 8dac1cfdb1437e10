"""McpTools: the tools of an MCP server, as a toolbox holds them before anyone has asked the server."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from deepeyes_env.errors import ToolServerError, UsageError
from deepeyes_env.mcp.connection import Connection
from deepeyes_env.mcp.session import Session
from deepeyes_env.mcp.tool import Listed, McpTool
from deepeyes_env.registry import did_you_mean, unknown_name
from deepeyes_env.single_flight import SingleFlight
from deepeyes_env.tools.source import ToolSource
from deepeyes_env.tools.tool import Tool

SessionKind: TypeAlias = Literal["episode", "shared"]
"""``"episode"``: every episode has a session of its own; ``"shared"``: those of a process share one."""

MAX_TOOLS = 128
"""How many tools a server may have."""

_listings: SingleFlight[McpTools, tuple[Listed, ...]] = SingleFlight({})


@dataclass(frozen=True)
class McpTools(ToolSource):
    """Which MCP server, how to talk with it, and which of its tools: it travels, the connection does not.

    Attributes:
        command: The program to start and its arguments; empty for a server at a URL.
        url: Where the server is; empty for one that is started.
        session: Whether every episode has a session of its own.
        timeout: Seconds for a call, for connecting, and for naming the tools.
        only: The tools to use; empty for all.
        env: Variables of the server's environment.
        cwd: Its working directory.
        headers: What HTTP requests carry.
    """

    command: tuple[str, ...] = ()
    url: str = ""
    session: SessionKind = "episode"
    timeout: float = 60.0
    only: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cwd: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def make_tools(self) -> Sequence[Tool]:
        """Return the server's tools: it is asked once in a process, at the first reset.

        Raises:
            ToolServerError: It cannot be reached, or what it says of a tool is of no use.
            UnknownNameError: It has no tool of a name that was asked for.
        """
        session = Session(self)
        return [McpTool(listed, session) for listed in _listings.once(self, self._listing)]

    def _listing(self) -> tuple[Listed, ...]:
        shared = self.session == "shared"
        connection = Connection.shared(self) if shared else Connection(self)
        try:
            tools = {tool.name: tool for tool in connection.list_tools(MAX_TOOLS)}
        finally:
            if not shared:
                connection.close()
        for name in self.only:
            if name not in tools:
                raise unknown_name(f"tool of {self}", name, tools)
        if not tools:
            raise ToolServerError(f"the tool server {self} has no tools")
        return tuple(Listed.of(tools[name], str(self)) for name in self.only or tools)

    def __str__(self) -> str:
        if self.url:
            parts = urlsplit(self.url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # a query may hold a key
        return shlex.join(self.command)


def mcp_tools(
    server: str | Sequence[str],
    *,
    session: SessionKind = "episode",
    timeout: float = 60.0,
    only: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> McpTools:
    """Return the tools of an MCP server, for ``register_toolbox``; nothing is started or asked before a reset.

    Args:
        server: A command that starts the server and talks over its standard input and output, as one text or as a list
            of arguments; or the URL of a running one (streamable HTTP).
        session: ``"episode"``: every episode that calls a tool has a session of its own, so of a command a process of
            its own, and nothing that the server remembers reaches another episode. ``"shared"``: the environments of a
            process share one: right for servers that remember nothing. No flag of the protocol tells which one needs.
        timeout: Seconds for a call, for connecting, and for naming the tools. An episode whose call takes longer is
            truncated, as with other tools (``tool_timeout``).
        only: The tools to use, by name; all by default.
        env: Variables of the server's environment. Beside them it gets few (``PATH``, ``HOME`` ...): no keys of yours.
        cwd: Working directory of the server.
        headers: What HTTP requests carry, such as ``{"Authorization": "Bearer ..."}``.

    Raises:
        UsageError: The server is neither a command nor a URL, or an argument has no place with it.

    Example:
        >>> register_toolbox("Files-v0", tools=mcp_tools("python my_server.py"))
    """
    if session not in get_args(SessionKind):
        raise UsageError(f"mcp_tools: session={session!r}: {did_you_mean(str(session), get_args(SessionKind))}")
    if not 0 < timeout < 1e6:
        raise UsageError(f"mcp_tools: timeout={timeout}: must be a number of seconds above 0")
    if isinstance(only, str):
        raise UsageError(f"mcp_tools: only={only!r}: is one text; give a list of names")
    url = server if isinstance(server, str) and server.startswith(("http://", "https://")) else ""
    if url and (env or cwd):
        raise UsageError(f"mcp_tools({url!r}): env and cwd are for a server that is started, not for one at a URL")
    if not url and headers:
        raise UsageError(f"mcp_tools({server!r}): headers are for a server at a URL; give it http:// or https://")
    command = () if url else tuple(_words(server))
    if not url and not command:
        raise UsageError("mcp_tools: the server is empty; give a command, or a URL")
    return McpTools(
        command,
        url,
        session,
        timeout,
        tuple(only),
        tuple(sorted((env or {}).items())),
        None if cwd is None else os.fspath(cwd),
        tuple(sorted((headers or {}).items())),
    )


def _words(server: str | Sequence[str]) -> Iterable[str]:
    if not isinstance(server, str):
        return map(str, server)
    try:
        return shlex.split(server)
    except ValueError as error:
        raise UsageError(f"mcp_tools({server!r}): {error}; quote it as a shell wants, or give a list") from None
