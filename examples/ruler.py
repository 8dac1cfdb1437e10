"""A ruler as a tool: how long a line on the image is, in pixels of the original, whatever size the policy sees.

    deepeyes rollout --plugin examples/ruler.py --env Ruler-v0 --data questions.jsonl

Ends are written in the policy's own coordinates.
"""

from math import atan2, degrees, hypot

from deepeyes_env import ToolContext, register_toolbox, tool
from deepeyes_env.images.frames import to_native


@tool
def measure(context: ToolContext, start: tuple[float, float], end: tuple[float, float]) -> str:
    """Measure a line on the image, from [x, y] to [x, y]: its length in pixels of the original, and its direction."""
    x1, y1, x2, y2 = to_native((*start, *end), context.frame, context.native_size, context.view_size)
    return f"{hypot(x2 - x1, y2 - y1):.1f} pixels, {degrees(atan2(y1 - y2, x2 - x1)):.1f} degrees"


register_toolbox("Ruler-v0", tools=["image_zoom_in_tool", measure])
