"""Environments in which a vision-language model learns to think with images.

Importing this registers the environments' ids (``VisualToolbox-v2``, ``DeepEyesV2-v0`` and others) with Gymnasium and
does nothing else.
"""

from deepeyes_env.core import Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.data.benchmarks import register_benchmark
from deepeyes_env.envs import Toolbox, VisualToolboxEnv, get_toolbox, register_toolbox
from deepeyes_env.envs.vector import register_backend
from deepeyes_env.errors import (
    ArgumentError,
    DataError,
    DeepEyesError,
    ImageError,
    JudgeError,
    MissingExtraError,
    RecordError,
    RowError,
    ToolError,
    ToolServerError,
    ToolSetupError,
    UnexportableError,
    UnknownNameError,
    UnreadableReplyError,
    UsageError,
)
from deepeyes_env.images import Image, ImageRef, ViewBudget
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.store import ImageStore
from deepeyes_env.judges import register_judge
from deepeyes_env.mcp import mcp_tools
from deepeyes_env.protocols import register_protocol
from deepeyes_env.rewards import Rubric, Term, register_rubric
from deepeyes_env.rewards.rubric import ScoringError
from deepeyes_env.tools import Tool, ToolContext, ToolOutput, register_tool, tool
from deepeyes_env.trajectories.export import register_export

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "BBox",
    "DataError",
    "DeepEyesError",
    "Image",
    "ImageError",
    "ImageRef",
    "ImageStore",
    "JudgeError",
    "MissingExtraError",
    "RecordError",
    "RowError",
    "Rubric",
    "Sample",
    "ScoringError",
    "Term",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolOutput",
    "ToolResult",
    "ToolServerError",
    "ToolSetupError",
    "Toolbox",
    "Trajectory",
    "Turn",
    "UnexportableError",
    "UnknownNameError",
    "UnreadableReplyError",
    "UsageError",
    "ViewBudget",
    "VisualToolboxEnv",
    "get_toolbox",
    "mcp_tools",
    "register_backend",
    "register_benchmark",
    "register_export",
    "register_judge",
    "register_protocol",
    "register_rubric",
    "register_tool",
    "register_toolbox",
    "tool",
]
