"""Zoom: cut a box out of the image at full resolution."""

from __future__ import annotations

from math import ceil, floor

from deepeyes_env.images import ImageRef
from deepeyes_env.images.frames import BBox, PixelBox, Size
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.signature import Unread
from deepeyes_env.tools.tool import Tool, ToolOutput


class ZoomTool(Tool):
    """Zoom in on a region; the crop is cut from native pixels.

    Args:
        min_side: Both sides of the box must be at least this long, in native pixels. The original's
            ``visual_toolbox_v2`` demands more than 30.
        enlarge_to: A box with a shorter side is enlarged around its centre, keeping its shape, until its short side is
            this long, and moved back inside the image. The original's ``visual_toolbox_v5`` uses 28.
        name: The name that the policy calls.
    """

    runs_in_place = True

    def __init__(self, *, min_side: int = 1, enlarge_to: int = 1, name: str = "image_zoom_in_tool") -> None:
        self.min_side = min_side
        self.enlarge_to = enlarge_to
        self.name = name

    def __call__(self, context: ToolContext, bbox_2d: BBox, label: Unread = "") -> ToolOutput:
        """Zoom in on a region of the image: returns the region inside a bounding box at full resolution.

        Args:
            context: The episode's images.
            bbox_2d: The bounding box of the region to zoom in on, as [x1, y1, x2, y2]: (x1, y1) is its top-left corner
                and (x2, y2) its bottom-right corner.
            label: What is in the box (optional).
        """
        return self.cut(context, bbox_2d)

    @property
    def returns_crops(self) -> bool:
        """Whether this is a zoom of the package: one derived from it may draw on the crop."""
        return self.runs_in_place

    def cut(self, context: ToolContext, box: BBox) -> ToolOutput:
        """Apply the size rules to a native box and cut it out.

        Raises:
            ArgumentError: The box is smaller than ``min_side`` allows.
        """
        x1, y1, x2, y2 = map(int, box)
        used: PixelBox = (x1, y1, x2, y2)
        shortest = min(x2 - x1, y2 - y1)
        if shortest < self.min_side:
            raise context.too_small(used, self.min_side)
        if shortest < self.enlarge_to:
            used = enlarge(used, self.enlarge_to, context.native_size)
        return ToolOutput(images=(ImageRef(context.cut(used)),), box=used)


class ImagePathZoomTool(ZoomTool):
    """Zoom as ``VisualToolbox-v1`` writes it: the box is called ``bbox``; an image path is named but never opened."""

    runs_in_place = True

    def __call__(self, context: ToolContext, bbox: BBox, image_path: Unread = "") -> ToolOutput:
        """Zoom in on a region of the image: returns the region inside a bounding box at full resolution.

        Args:
            context: The episode's images.
            bbox: The bounding box of the region to zoom in on, as [x1, y1, x2, y2]: (x1, y1) is its top-left corner and
                (x2, y2) its bottom-right corner.
            image_path: Name of the image (optional; there is only one).
        """
        return self.cut(context, bbox)


def enlarge(box: PixelBox, side: int, size: Size) -> PixelBox:
    """Grow a box around its centre until its short side is ``side`` pixels, keeping its shape, inside the image.

    The arithmetic is the original's (``visual_toolbox_v5``); moving the box back inside the image is ours, where the
    original pads with black.

    Args:
        box: ``(x1, y1, x2, y2)`` in native pixels.
        side: Wanted length of the short side, in pixels.
        size: ``(width, height)`` of the image, in pixels.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    ratio = side / min(width, height)
    half_width, half_height = ceil(width * ratio * 0.5), ceil(height * ratio * 0.5)
    centre_x, centre_y = (x1 + x2) / 2.0, (y1 + y2) / 2.0
    left, right = _inside(floor(centre_x - half_width), ceil(centre_x + half_width), size[0])
    top, bottom = _inside(floor(centre_y - half_height), ceil(centre_y + half_height), size[1])
    return (left, top, right, bottom)


def _inside(low: int, high: int, limit: int) -> tuple[int, int]:
    shift = max(0, -low) - max(0, high - limit)
    return (max(0, low + shift), min(limit, high + shift))
