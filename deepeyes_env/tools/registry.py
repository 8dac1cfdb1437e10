"""The registry of tools by name, so that a toolbox can be written down as a list of names."""

from __future__ import annotations

from typing import TypeAlias

from deepeyes_env.names import did_you_mean
from deepeyes_env.tools.rotate import RotateTool
from deepeyes_env.tools.tool import Tool
from deepeyes_env.tools.zoom import ZoomTool

ToolLike: TypeAlias = "str | Tool | type[Tool]"
"""A registered tool's name, a tool, or a tool class of which every environment gets an instance of its own."""

_TOOLS: dict[str, Tool | type[Tool]] = {}


def register_tool(tool: Tool | type[Tool]) -> None:
    """Make a tool known by its name; a second one of that name takes its place."""
    _TOOLS[tool.name] = tool


def get_tool(tool: ToolLike) -> Tool | type[Tool]:
    """Look a tool up by name; a tool or tool class comes back as it is.

    Raises:
        KeyError: No tool has that name; the message names the nearest ones.
        TypeError: ``tool`` is no tool at all (a plain function without ``@tool``, say).
    """
    if isinstance(tool, Tool) or (isinstance(tool, type) and issubclass(tool, Tool)):
        return tool
    if not isinstance(tool, str):
        raise TypeError(f"{tool!r} is not a tool; decorate a function with @tool, or subclass Tool")
    if tool not in _TOOLS:
        raise KeyError(f"no tool named {tool!r}; {did_you_mean(tool, _TOOLS)}")
    return _TOOLS[tool]


def registered_tools() -> tuple[str, ...]:
    """Return the names of all registered tools."""
    return tuple(sorted(_TOOLS))


register_tool(ZoomTool())
register_tool(RotateTool())
