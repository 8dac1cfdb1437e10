"""View budgets: how large an image the policy gets to see.

The rule is Qwen2-VL's ``smart_resize`` (Qwen2-VL, arXiv 2409.12191; ``transformers``
``models/qwen2_vl/image_processing_qwen2_vl.py``): both sides become multiples of ``factor``, the number of pixels is
brought into ``[min_pixels, max_pixels]``, and the aspect ratio is kept as closely as possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size

MAX_ASPECT_RATIO = 200
"""Qwen's processors refuse an image whose long side is more than 200 times its short side."""

MIN_SIDE = 28
"""Shortest side in pixels that Qwen2-VL's processors accept (patch 14, merge 2)."""


DEFAULT_FACTOR = 28
"""Side in pixels of the square that is one visual token of Qwen2.5-VL: patch size 14, 2 x 2 patches merged."""


@dataclass(frozen=True, slots=True)
class ViewBudget:
    """Bounds on the number of pixels of every image that a policy sees.

    Attributes:
        min_pixels: Smallest number of pixels of a view; smaller images are scaled up.
        max_pixels: Largest number of pixels of a view; larger images are scaled down.
        factor: Both sides of a view are multiples of this (patch size times merge size).

    Raises:
        UsageError: The bounds are not ``factor**2 <= min_pixels <= max_pixels``.
    """

    min_pixels: int = 56 * 56
    max_pixels: int = 1280 * DEFAULT_FACTOR**2
    factor: int = DEFAULT_FACTOR

    def __post_init__(self) -> None:
        if not self.factor**2 <= self.min_pixels <= self.max_pixels:
            raise UsageError(
                f"ViewBudget(min_pixels={self.min_pixels}, max_pixels={self.max_pixels}, factor={self.factor}): "
                "needs factor**2 <= min_pixels <= max_pixels"
            )

    def fit(self, size: Size) -> Size:
        """Return the ``(width, height)`` in pixels at which an image of ``size`` is shown.

        Equal to ``resized`` wherever that is a size that a processor would leave alone. For needles it is not: it
        raises above a side ratio of 200, rounds others to above 200, or exceeds ``max_pixels``, so that a processor
        would refuse the view or scale it a second time, and boxes written on it would mean other pixels. Here the
        ratio is brought to 200 and ``max_pixels`` holds.
        """
        bounded = bound_aspect_ratio(size)
        w, h = self.resized(bounded)
        if w * h > self.max_pixels:
            w, h = self._shrunk(bounded)
        return (min(w, self._longest(h)), h) if w > h else (w, min(h, self._longest(w)))

    def resized(self, size: Size) -> Size:
        """Return the ``(width, height)`` to which a processor with this budget brings an image: ``smart_resize``."""
        width, height = size
        factor = self.factor
        w = max(factor, round(width / factor) * factor)
        h = max(factor, round(height / factor) * factor)
        if w * h > self.max_pixels:
            return self._shrunk(size)
        if w * h < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (width * height))
            return (math.ceil(width * grow / factor) * factor, math.ceil(height * grow / factor) * factor)
        return (w, h)

    def _shrunk(self, size: Size) -> Size:
        """Return the size that an image of too many pixels is scaled down to."""
        (width, height), factor = size, self.factor
        shrink = math.sqrt(width * height / self.max_pixels)
        w = max(factor, math.floor(width / shrink / factor) * factor)
        h = max(factor, math.floor(height / shrink / factor) * factor)
        return (w, h)

    def _longest(self, short: int) -> int:
        """Return the longest side that may go with a short one."""
        return min(MAX_ASPECT_RATIO * short, self.max_pixels // short // self.factor * self.factor)

    def visual_tokens(self, size: Size) -> int:
        """Return how many visual tokens a shown image of ``size`` costs: one for each ``factor x factor`` square."""
        width, height = size
        return math.ceil(width / self.factor) * math.ceil(height / self.factor)


def bound_aspect_ratio(size: Size) -> Size:
    """Stretch the short side of ``size`` until the long side is at most ``MAX_ASPECT_RATIO`` times as long."""
    width, height = size
    shortest = math.ceil(max(width, height) / MAX_ASPECT_RATIO)
    return (max(width, shortest), max(height, shortest))


def shown_size(size: Size, budget: ViewBudget | None) -> Size:
    """Return the ``(width, height)`` at which the environment shows an image of ``size``.

    With a budget this is ``ViewBudget.fit``. Without one the image is shown as it is, unless a processor would
    refuse it: a side ratio above 200 is brought to 200 by stretching the short side, and an image with a side shorter
    than ``MIN_SIDE`` pixels is scaled up.
    """
    if budget is not None:
        return budget.fit(size)
    width, height = size
    if MIN_SIDE <= width <= MAX_ASPECT_RATIO * height and MIN_SIDE <= height <= MAX_ASPECT_RATIO * width:
        return size
    width, height = bound_aspect_ratio(size)
    scale = max(1.0, MIN_SIDE / min(width, height))
    return (max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(height * scale)))
