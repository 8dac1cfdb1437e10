"""Rotate: turn the image."""

from __future__ import annotations

from deepeyes_env.images import ImageRef
from deepeyes_env.images.ops import rotate
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.tool import Tool, ToolOutput


class RotateTool(Tool):
    """Rotate the image clockwise and keep the whole of it.

    The image is turned as it was shown, not as it is stored: the result is shown at the same view budget anyway, and a
    4K source costs tens of times as much to turn as its view.
    """

    name = "image_rotate_tool"
    runs_in_place = True

    def __call__(self, context: ToolContext, angle: float) -> ToolOutput:
        """Rotate the image by an angle, keeping the whole image in sight.

        Args:
            context: The episode's images.
            angle: Rotation angle in degrees (e.g. 90, 180, 270). Positive values turn clockwise, negative values
                counterclockwise.
        """
        region = context.region
        return ToolOutput(images=(ImageRef(rotate(context.view, angle)),), regions=(region and region.rotated(angle),))

    @property
    def is_about_an_image(self) -> bool:
        """It is: the one of its context."""
        return True
