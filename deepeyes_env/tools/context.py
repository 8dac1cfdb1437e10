"""What a tool gets to see of the episode, and the errors by which it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepeyes_env.errors import ArgumentError
from deepeyes_env.images import Image, ImageRef, ViewBudget
from deepeyes_env.images.frames import (
    BBox,
    Frame,
    PixelBox,
    Size,
    clamp,
    frame_size,
    is_finite_box,
    to_native,
    to_pixels,
)
from deepeyes_env.images.ops import FitMode
from deepeyes_env.images.store import ImageStore

MAX_BOX_RATIO = 100
"""The long side of a box may be at most this many times its short side (the original's rule)."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The images of an episode, as a tool gets them.

    Attributes:
        store: Where pixels are decoded and shared.
        refs: The sample's images.
        frame: Coordinate frame in which the policy writes boxes.
        native_size: ``(width, height)`` of the first image as stored.
        view_size: ``(width, height)`` of the first image as shown.
        budget: The view budget; ``None`` shows native pixels.
        mode: How views are resized.
    """

    store: ImageStore
    refs: tuple[ImageRef, ...]
    frame: Frame
    native_size: Size
    view_size: Size
    budget: ViewBudget | None = None
    mode: FitMode = "exact"

    @property
    def image(self) -> Image:
        """Pixels of the first image as stored, read-only."""
        return self.store.pixels(self.refs[0])

    @property
    def images(self) -> tuple[Image, ...]:
        """Pixels of all images as stored, read-only."""
        return tuple(self.store.pixels(ref) for ref in self.refs)

    @property
    def view(self) -> Image:
        """Pixels of the first image as shown to the policy, read-only."""
        return self.store.view(self.refs[0], self.budget, self.mode)

    def native_box(self, box: Sequence[float], name: str = "bbox_2d") -> PixelBox:
        """Convert a box that the policy wrote to whole native pixels of the first image, clamped to it.

        Args:
            box: ``[x1, y1, x2, y2]`` in the policy's frame.
            name: Name of the argument, for the error.

        Returns:
            ``(x1, y1, x2, y2)``, inside the image and at least one pixel in size.

        Raises:
            ArgumentError: The box is not finite, is empty or inverted after clamping, or its sides differ by a factor
                of more than 100 (all in the policy's own units).
        """
        x1, y1, x2, y2 = box
        written: BBox = (x1, y1, x2, y2)
        if not is_finite_box(written):
            raise self._refused(name, box, "every coordinate must be a finite number")
        left, top, right, bottom = clamp(
            to_native(written, self.frame, self.native_size, self.view_size), self.native_size
        )
        if left >= right or top >= bottom:
            if x1 >= x2:
                reason = "x1 must be less than x2"
            elif y1 >= y2:
                reason = "y1 must be less than y2"
            else:
                reason = "the box lies outside the image"
            raise self._refused(name, box, reason)
        width, height = right - left, bottom - top
        if max(width, height) > MAX_BOX_RATIO * min(width, height):
            raise self._refused(name, box, f"the long side is more than {MAX_BOX_RATIO} times the short side")
        return _at_least_one_pixel(to_pixels((left, top, right, bottom)), self.native_size)

    def _refused(self, name: str, box: Sequence[Any], reason: str) -> ArgumentError:
        width, height = frame_size(self.frame, self.native_size, self.view_size)
        numbers = ", ".join(f"{x:.6g}" if isinstance(x, float) else str(x)[:20] for x in box)
        return ArgumentError(
            f"{name} [{numbers}]: {reason}; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2; "
            f"the image is {width:g} x {height:g}"
        )


def _at_least_one_pixel(box: PixelBox, size: Size) -> PixelBox:
    x1, y1, x2, y2 = box
    if x1 == x2:
        x1 = min(x1, size[0] - 1)
        x2 = x1 + 1
    if y1 == y2:
        y1 = min(y1, size[1] - 1)
        y2 = y1 + 1
    return (x1, y1, x2, y2)
