"""The registry of tools by name, so that a toolbox can be written down as a list of names."""

from __future__ import annotations

from typing import TypeAlias

from deepeyes_env.errors import UsageTypeError
from deepeyes_env.registry import Registry
from deepeyes_env.tools.image_search import ImageSearchTool
from deepeyes_env.tools.python import PythonTool
from deepeyes_env.tools.rotate import RotateTool
from deepeyes_env.tools.select_frame import SelectFrameTool
from deepeyes_env.tools.text_search import SearchTool
from deepeyes_env.tools.tool import Tool
from deepeyes_env.tools.zoom import ZoomTool

ToolLike: TypeAlias = "str | Tool | type[Tool]"
"""A registered tool's name, a tool, or a tool class of which every environment gets an instance of its own."""

TOOLS: Registry[Tool | type[Tool]] = Registry("tool")
"""Every tool by its name."""


def register_tool(tool: Tool | type[Tool]) -> None:
    """Make a tool known by its name; another one of yours with that name is replaced.

    Raises:
        UsageError: A tool of the package has that name.
        UsageTypeError: It is no tool.
    """
    if not _is_tool(tool):
        raise _no_tool(tool)
    TOOLS.register(tool.name, tool)


def get_tool(tool: ToolLike) -> Tool | type[Tool]:
    """Look a tool up by name; a tool or tool class comes back as it is.

    Raises:
        UnknownNameError: No tool has that name; the message has the nearest one.
        UsageTypeError: ``tool`` is no tool at all (a plain function without ``@tool``, say).
    """
    if isinstance(tool, str):
        return TOOLS.get(tool)
    if not _is_tool(tool):
        raise _no_tool(tool)
    return tool


def _is_tool(tool: object) -> bool:
    return isinstance(tool, Tool) or (isinstance(tool, type) and issubclass(tool, Tool))


def _no_tool(tool: object) -> UsageTypeError:
    return UsageTypeError(f"{tool!r} is not a tool; decorate a function with @tool, or subclass Tool")


register_tool(ZoomTool())
register_tool(RotateTool())
register_tool(SelectFrameTool())
register_tool(PythonTool)
register_tool(SearchTool())
register_tool(ImageSearchTool())
TOOLS.protect()
