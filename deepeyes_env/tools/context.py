"""What a tool gets to see of the episode, and the errors by which it refuses."""

from __future__ import annotations

import math
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
    from_native,
    is_finite_box,
    to_native,
    to_pixels,
)
from deepeyes_env.images.ops import FitMode
from deepeyes_env.images.store import ImageStore

MAX_BOX_RATIO = 100
"""The long side of a box may be at most this many times its short side (the original's rule)."""

_UNITS: dict[Frame, str] = {
    "native": "pixels",
    "view": "pixels",
    "norm1000": "in thousandths of its sides",
    "unit": "in fractions of its sides",
}
_COUNTED: dict[Frame, str] = {"native": "pixels", "view": "pixels", "norm1000": "thousandths of them"}


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
            ArgumentError: The box is not finite, is empty or inverted after clamping, its sides differ by a factor of
                more than 100, or it is written in fractions where the frame has other units. All of it is told in the
                policy's own units, with the size of the image.
        """
        x1, y1, x2, y2 = box
        written: BBox = (x1, y1, x2, y2)
        if not is_finite_box(written):
            raise self._refused(name, box, "every coordinate must be a finite number")
        if x2 <= 1 and self._in_fractions(written):  # the first test spares nearly every zoom a call
            raise self._refused(name, box, self._meant(written))
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

    @property
    def extent(self) -> str:
        """How large the image is in the policy's frame, in words."""
        width, height = frame_size(self.frame, self.native_size, self.view_size)
        return f"the image is {width:g} x {height:g} {_UNITS[self.frame]}"

    def too_small(self, box: PixelBox, shortest: int) -> ArgumentError:
        """Return the refusal of a box that is too small, told in the policy's units.

        Args:
            box: The box, in native pixels.
            shortest: How long both of its sides must be at least, in native pixels.
        """
        x1, y1, x2, y2 = box
        *_, width, height = from_native((0, 0, x2 - x1, y2 - y1), self.frame, self.native_size, self.view_size)
        *_, least_width, least_height = from_native(
            (0, 0, shortest, shortest), self.frame, self.native_size, self.view_size
        )
        return ArgumentError(
            f"the box is {width:.4g} wide and {height:.4g} high, which is too small; it must be at least "
            f"{self._rounded_up(least_width)} wide and {self._rounded_up(least_height)} high; {self.extent}"
        )

    def _rounded_up(self, length: float) -> str:
        return f"{math.ceil(length * 1000) / 1000:g}" if self.frame == "unit" else str(math.ceil(length))

    def _in_fractions(self, box: BBox) -> bool:
        """Whether a box can only be meant in fractions of the sides: it is not even a pixel wide."""
        x1, y1, x2, y2 = box
        if not (0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1):
            return False
        return min(frame_size(self.frame, self.native_size, self.view_size)) > 2

    def _meant(self, box: BBox) -> str:
        width, height = frame_size(self.frame, self.native_size, self.view_size)
        x1, y1, x2, y2 = (round(x * side) for x, side in zip(box, (width, height) * 2, strict=True))
        return (
            f"these seem to be fractions of the sides of the image, and coordinates are {_COUNTED[self.frame]}; "
            f"you probably mean [{x1}, {y1}, {x2}, {y2}]"
        )

    def _refused(self, name: str, box: Sequence[Any], reason: str) -> ArgumentError:
        numbers = ", ".join(f"{x:.6g}" if isinstance(x, float) else str(x)[:20] for x in box)
        return ArgumentError(
            f"{name} [{numbers}]: {reason}; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2; {self.extent}"
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
