"""What a tool gets to see of the episode, and the errors by which it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.errors import ArgumentError
from deepeyes_env.fast_init import fast_init
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
from deepeyes_env.images.ops import FitMode, crop
from deepeyes_env.images.regions import Region
from deepeyes_env.images.sources import videos
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.images.store import ImageStore
from deepeyes_env.shown import Shown
from deepeyes_env.tools.album import Album

MAX_BOX_RATIO = 100
"""The long side of a box may be at most this many times its short side (the original's rule)."""

_UNITS: dict[Frame, str] = {
    "native": "pixels",
    "view": "pixels",
    "norm1000": "in thousandths of its sides",
    "unit": "in fractions of its sides",
}
_COUNTED: dict[Frame, str] = {"native": "pixels", "view": "pixels", "norm1000": "thousandths of them"}


@fast_init
@dataclass(frozen=True, slots=True)
class ToolContext:
    """The images of an episode, as a tool gets them, and the one that its call is about.

    That is the first image, unless the call names another one. A crop is at hand in the native pixels of the stored
    image that it was cut from, turned as it was turned; what is no part of such an image, in the pixels that were
    shown.

    Attributes:
        store: Where pixels are decoded and shared.
        refs: The sample's images.
        frame: Coordinate frame in which the policy writes boxes.
        native_size: ``(width, height)`` of ``image``: of the first image as stored.
        view_size: ``(width, height)`` of ``image`` as shown.
        budget: The view budget; ``None`` shows native pixels.
        mode: How views are resized.
        target: The image that the call names; ``None`` for the first one.
        album: What a call may name; ``None`` where there is nothing to choose from.
        sample: The question.
    """

    store: ImageStore
    refs: tuple[ImageRef, ...]
    frame: Frame
    native_size: Size
    view_size: Size
    budget: ViewBudget | None = None
    mode: FitMode = "exact"
    target: Shown | None = None
    album: Album | None = None
    sample: Sample | None = None

    @property
    def image(self) -> Image:
        """Pixels of the image that the call is about, read-only: of the first image, as stored."""
        if self.target is None:
            return self.store.pixels(self.refs[0])
        region = self.target.region
        if region is None or region.tilted:
            return self.target.image.pixels()
        return region.cut(self.store.pixels(self._stored(region)))

    @property
    def region(self) -> Region | None:
        """What part of which of the question's images the call is about; ``None`` for what is none (a drawing)."""
        return Region.whole(0, self.native_size) if self.target is None else self.target.region

    def about(self, target: Shown) -> ToolContext:
        """Return the context of a call that names an image."""
        if target.number == 0:
            return self if self.target is None else replace(self, target=None)
        region = target.region
        size = target.image.size
        native = size if region is None or region.tilted else to_pixels((0, 0, *region.size))[2:]
        return replace(self, target=target, native_size=native, view_size=size)

    def cut(self, box: PixelBox) -> Image:
        """Cut a box of ``image`` out of it, in native pixels: a view, nothing is copied.

        Of an image that is read part by part (``deepeyes_env.images.sources``), the box in as many pixels as it is
        shown in.
        """
        if self.target is None:
            ref = self.refs[0]
            if not isinstance(ref.source, RegionSource):
                return crop(self.store.pixels(ref), box)
            return self.store.part(ref, box, self.budget, self.mode)
        region = self.part(box)
        if region is None or not isinstance(self.refs[region.image].source, RegionSource):
            return crop(self.image, box)
        return region.held(self.store.part(self._stored(region), to_pixels(region.box), self.budget, self.mode))

    def _stored(self, region: Region) -> ImageRef:
        """Return the image that a region is of: the question's, or another frame of its video."""
        ref = self.refs[region.image]
        return ref if region.moment is None else ImageRef(videos.at_moment(ref.source, region.moment), name=ref.name)

    def part(self, box: BBox) -> Region | None:
        """Return what part of the question's images a box of ``image`` is; ``None`` on what is none."""
        target = self.target
        if target is None:
            return Region(0, box)
        return None if target.region is None or target.region.tilted else target.region.part(box)

    @property
    def images(self) -> tuple[Image, ...]:
        """Pixels of all images as stored, read-only."""
        return tuple(self.store.pixels(ref) for ref in self.refs)

    @property
    def view(self) -> Image:
        """Pixels of the image that the call is about as shown to the policy, read-only."""
        if self.target is not None:
            return self.target.image.pixels()
        return self.store.view(self.refs[0], self.budget, self.mode)

    def native_box(self, box: Sequence[float], name: str = "bbox_2d") -> PixelBox:
        """Convert a box that the policy wrote to whole pixels of ``image``, clamped to it.

        Args:
            box: ``[x1, y1, x2, y2]`` in the policy's frame.
            name: Name of the argument, for the error.

        Returns:
            ``(x1, y1, x2, y2)``, inside the image and at least one pixel in size.

        Raises:
            ArgumentError: The box is not finite, is empty or inverted after clamping, its sides differ by a factor of
                more than 100, or it is written in fractions where the frame has other units. All of it is told in the
                policy's own units, with the size of the image. Or the image was turned by an odd angle.
        """
        if self.target is not None:
            self._refuse_tilted(self.target)
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
        which = self.album.named(self.target.number if self.target else 0) if self.album else "the image"
        return f"{which} is {width:g} x {height:g} {_UNITS[self.frame]}"

    def _refuse_tilted(self, target: Shown) -> None:
        if target.region is not None and target.region.tilted and self.album is not None:
            tilted, straight = (self.album.named(each.number) for each in (target, self.album.straight(target)))
            raise ArgumentError(
                f"{tilted} was turned by an angle that is no quarter turn, so a box on it cannot be cut out of the "
                f"original; write the box on {straight}, which it was made of, or turn {straight} by 90, 180 or 270 "
                "degrees"
            )

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
