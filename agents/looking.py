"""Where to look: which tool of a toolbox cuts out a box, and how to write a ground-truth box for it."""

from __future__ import annotations

from typing import Any

from deepeyes_env.core import Trajectory
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.images.box_sides import MIN_ZOOM_SIDE
from deepeyes_env.images.frames import BBox, Size, from_native

MAX_ZOOM_RATIO = 50
"""A long side of this many short sides is well within the 100 that tools accept."""


def toolbox_of(episode: Trajectory) -> Toolbox:
    """Return the toolbox that an episode is played with; one without tools for an ordinary question."""
    return get_toolbox(episode.toolbox) if episode.toolbox else PLAIN


def is_box(parameter: dict[str, Any]) -> bool:
    """Whether the JSON schema of a tool's parameter describes a box: exactly four numbers."""
    return parameter.get("type") == "array" and parameter.get("minItems") == parameter.get("maxItems") == 4


def find_zoom(toolbox: Toolbox) -> tuple[str, str] | None:
    """Return the first tool that takes a box, and what it calls the box; ``None`` if no tool does."""
    for tool in toolbox.make_tools().values():
        for parameter, schema in tool.schema["function"]["parameters"].get("properties", {}).items():
            if is_box(schema):
                return tool.name, parameter
    return None


def padded(box: BBox, size: Size, margin: float) -> BBox:
    """Grow a box by ``margin`` of its sides and to a legal size, then shift and clip it to the image.

    Args:
        box: ``(x1, y1, x2, y2)`` in native pixels.
        size: ``(width, height)`` of the image in pixels.
        margin: Share of each side that is added to it, half at either end.
    """
    width, height = (box[2] - box[0]) * (1 + margin), (box[3] - box[1]) * (1 + margin)
    shortest = max(MIN_ZOOM_SIDE, max(width, height) / MAX_ZOOM_RATIO)
    x1, x2 = _span((box[0] + box[2]) / 2, max(width, shortest), size[0])
    y1, y2 = _span((box[1] + box[3]) / 2, max(height, shortest), size[1])
    return (x1, y1, x2, y2)


def _span(centre: float, length: float, limit: int) -> tuple[float, float]:
    length = min(length, limit)
    low = min(max(0.0, centre - length / 2), limit - length)
    return low, low + length


def written(box: BBox, episode: Trajectory) -> list[float]:
    """Write a native box in the episode's coordinate frame, with six significant digits."""
    converted = from_native(box, episode.frame, episode.native_size, episode.view_size)
    return [float(f"{value:.6g}") for value in converted]
