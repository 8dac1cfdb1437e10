"""Tools: what a policy can ask the environment to do."""

from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.image_search import ImageSearchTool
from deepeyes_env.tools.python import PythonTool
from deepeyes_env.tools.registry import TOOLS, ToolLike, get_tool, register_tool
from deepeyes_env.tools.rotate import RotateTool
from deepeyes_env.tools.select_frame import SelectFrameTool
from deepeyes_env.tools.signature import Unread
from deepeyes_env.tools.text_search import SearchTool
from deepeyes_env.tools.tool import FunctionTool, Tool, ToolOutput, tool
from deepeyes_env.tools.toolbase import ToolBaseTool
from deepeyes_env.tools.zoom import ZoomTool

__all__ = [
    "TOOLS",
    "FunctionTool",
    "ImageSearchTool",
    "PythonTool",
    "RotateTool",
    "SearchTool",
    "SelectFrameTool",
    "Tool",
    "ToolBaseTool",
    "ToolContext",
    "ToolLike",
    "ToolOutput",
    "Unread",
    "ZoomTool",
    "get_tool",
    "register_tool",
    "tool",
]
