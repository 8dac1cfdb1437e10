"""The environment ids that ship with the package; importing it registers them with Gymnasium."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym

from deepeyes_env.envs.toolbox import TOOLBOXES, register_toolbox
from deepeyes_env.images.box_sides import MIN_SIDE_V2
from deepeyes_env.images.views import MIN_SIDE
from deepeyes_env.tools import ImageSearchTool, PythonTool, RotateTool, SearchTool, ZoomTool
from deepeyes_env.tools.zoom import ImagePathZoomTool

DEFAULT_VERSION = 2

V2_MAX_TURNS = 9
"""Assistant messages of an episode of DeepEyesV2."""


def register_builtin() -> None:
    """Register the original's variants, one for native tool calls, those whose calls name the image, and DeepEyesV2."""
    # To Gymnasium a higher version supersedes a lower one; these are variants of equal standing.
    warnings.filterwarnings("ignore", r".*VisualToolbox-v\d is out of date", DeprecationWarning)
    rotate = RotateTool()
    enlarging = ZoomTool(enlarge_to=MIN_SIDE)  # as the original's v3 to v5 do
    register_toolbox("VisualToolbox-v1", tools=[ImagePathZoomTool(), rotate], protocol="v1", rubric="deepeyes_v1")
    register_toolbox("VisualToolbox-v2", tools=[ZoomTool(min_side=MIN_SIDE_V2), rotate], protocol="v2")
    register_toolbox("VisualToolbox-v3", tools=[enlarging], protocol="v3")
    register_toolbox("VisualToolbox-v4", tools=[enlarging], protocol="v4")
    register_toolbox("VisualToolbox-v5", tools=[enlarging, rotate], protocol="v5")
    register_toolbox("VisualToolboxNative-v0", tools=[enlarging, rotate], protocol="native")
    named: dict[str, Any] = {"tools": [enlarging, rotate], "protocol": "v5"}
    register_toolbox("VisualToolboxQwen3VL-v0", addressing="qwen3_vl", frame="norm1000", **named)
    register_toolbox("VisualToolboxMiniO3-v0", addressing="mini_o3", frame="unit", **named)
    register_toolbox("VisualToolboxNamed-v0", addressing="deepeyes_v2", **named)
    writes_code: dict[str, Any] = {"rubric": "deepeyes_v2", "addressing": "deepeyes_v2", "max_turns": V2_MAX_TURNS}
    register_toolbox(
        "DeepEyesV2-v0", tools=[PythonTool, SearchTool(), ImageSearchTool()], protocol="deepeyes_v2", **writes_code
    )
    for spec in gym.registry.values():
        if spec.name == "VisualToolbox" and spec.version != DEFAULT_VERSION:
            spec.version = 0  # so that "VisualToolbox" alone, for which Gymnasium takes the highest, is the default one
    TOOLBOXES.protect()
