"""Tools: what a policy can ask the environment to do."""

from deepeyes_env.tools.context import ArgumentError, ToolContext, ToolError
from deepeyes_env.tools.registry import ToolLike, get_tool, register_tool, registered_tools
from deepeyes_env.tools.rotate import RotateTool
from deepeyes_env.tools.tool import FunctionTool, Tool, ToolOutput, tool
from deepeyes_env.tools.toolbase import ToolBaseTool
from deepeyes_env.tools.zoom import ZoomTool

__all__ = [
    "ArgumentError",
    "FunctionTool",
    "RotateTool",
    "Tool",
    "ToolBaseTool",
    "ToolContext",
    "ToolError",
    "ToolLike",
    "ToolOutput",
    "ZoomTool",
    "get_tool",
    "register_tool",
    "registered_tools",
    "tool",
]
