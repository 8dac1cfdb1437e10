"""Session: what the tools of one environment, or all of a process, talk to a server through."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from deepeyes_env.errors import ToolError, ToolServerError, ToolTimeoutError
from deepeyes_env.mcp.connection import Connection
from deepeyes_env.mcp.messages import TOO_LARGE

if TYPE_CHECKING:
    from deepeyes_env.mcp.source import McpTools

logger = logging.getLogger(__name__)


class Session:
    """Connects when a tool is first called in an episode: one that calls none costs nothing.

    Args:
        server: Which server, and its limits.
    """

    def __init__(self, server: McpTools) -> None:
        self.server = server
        self._connection: Connection | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Session, (self.server,))  # the connection stays

    @property
    def per_episode(self) -> bool:
        """Whether every episode has a session of its own."""
        return self.server.session == "episode"

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool; returns the SDK's ``CallToolResult``.

        Raises:
            ToolTimeoutError: It has not returned in time; the connection is given up.
            ToolError: The server refuses, has ended, or sends what is no result, or too much.
        """
        connection = self._connected(name)
        try:
            return connection.call(name, arguments)
        except TimeoutError:
            connection.close()
            raise ToolTimeoutError(f"{name} did not return within {self.server.timeout:g} seconds") from None
        except Exception as error:
            raise self._refusal(name, error, connection) from error

    def close(self) -> None:
        """End the episode's session, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self, name: str) -> Connection:
        try:
            if not self.per_episode:
                return Connection.shared(self.server)
            if self._connection is None:
                self._connection = Connection(self.server)
        except ToolServerError as error:
            logger.error("%s: %s", name, error)
            raise ToolError(f"{name} failed: its server cannot be reached") from error
        if self._connection.ended:
            raise ToolError(f"{name} is gone: its server has ended, and with it what it knew of this episode")
        return self._connection

    def _refusal(self, name: str, error: Exception, connection: Connection) -> ToolError:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED

        text = " ".join(str(error).split())
        if TOO_LARGE in text or "byte limit" in text:  # of an event; the SDK says it in its own words
            return ToolError(f"{name} failed: {TOO_LARGE}")
        if isinstance(error, MCPError) and error.code != CONNECTION_CLOSED and text != "Session terminated":
            return ToolError(f"{name} failed: {text}")
        if isinstance(error, MCPError | OSError) or connection.ended:
            connection.close()
            logger.error("%s: the tool server %s has ended: %s", name, self.server, text)
            return ToolError(f"{name} failed: its server has ended")
        text = _wrong(error) if isinstance(error, ValidationError) else text[:300]
        logger.error("%s: the tool server %s sent what is no result: %s", name, self.server, text)
        return ToolError(f"{name} failed: what its server sent contradicts its schema: {text}")


def _wrong(error: ValidationError) -> str:
    """Say what is wrong with a result that is none: a block of no known kind is refused once for each known one."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = [str(part)[:40] for part in first["loc"][:3]]
    if len(where) == 3 and where[0] == "content":
        return f"block {where[1]} of its content is of no known kind, or incomplete"
    return f"{'.'.join(where)}: {first['msg'][:200]}"
