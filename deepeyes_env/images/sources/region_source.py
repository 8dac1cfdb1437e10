"""RegionSource: an image whose pixels are read part by part, because all of them together are too many."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.errors import ImageError
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size

MAX_WHOLE = 2**26
"""Most pixels that are held at once in native size (67 million, 201 MB)."""

MAX_READ = 2**28
"""Most stored pixels that are decoded for one part: seconds. A file without small levels asks for more."""

STRIP = 2**22
"""About how many stored pixels are decoded at a time on the way to a smaller part."""


class RegionSource(ABC):
    """Where the parts of an image come from, each in about as many pixels as are asked for.

    It is a recipe (``deepeyes_env.images.Renderable``) that can draw parts: small to keep and to pickle. One of your
    own needs ``key``, ``size`` and ``read``; ``ImageRef.of`` takes it like any image.
    """

    @property
    @abstractmethod
    def key(self) -> str:
        """Text that determines the pixels: equal keys mean equal images."""

    @property
    @abstractmethod
    def size(self) -> Size:
        """``(width, height)`` in native pixels."""

    @abstractmethod
    def read(self, box: PixelBox, size: Size) -> Image:
        """Read a part.

        Args:
            box: ``(x1, y1, x2, y2)`` in native pixels, inside the image and not empty.
            size: ``(width, height)`` in pixels at which the part will be shown.

        Returns:
            ``(height, width, 3)`` ``uint8``: the part in ``size``, or from the nearest stored level above it; in
            native pixels where ``size`` asks for more than there are.

        Raises:
            ImageError: The part cannot be read.
        """

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file, and what of it is meant (``page=3``), for whoever records the image; empty without one."""
        return ("", "")

    def render(self) -> Image:
        """Read all of the image in native pixels.

        Raises:
            ImageError: It has more than ``MAX_WHOLE`` pixels.
        """
        width, height = self.size
        if width * height > MAX_WHOLE:
            raise ImageError(
                f"image {self.address[0]}: {width} x {height} pixels are too many to be held at once; show it within a "
                "view budget (view=ViewBudget(...)), and read parts of it (ToolContext.cut)"
            )
        return self.read((0, 0, width, height), (width, height))


def reduction(stored: Size, size: Size) -> int:
    """Return by how much stored pixels may be averaged on their way to ``size``, so that a filter does the rest.

    At least two pixels are left for each that is shown: Pillow's ``reducing_gap=2``.
    """
    return max(1, min(stored[0] // (2 * size[0]), stored[1] // (2 * size[1])))


def reduced(pixels: PILImage.Image, factor: int) -> Image:
    """Average squares of ``factor`` pixels; what is left over at the right and at the bottom is averaged, too."""
    return np.asarray(pixels.reduce(factor) if factor > 1 else pixels)
