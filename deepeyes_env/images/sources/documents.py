"""Pages of PDF files, drawn anew for every part and scale; extra ``documents``."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path

from deepeyes_env.errors import ImageError
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.sources.pdfium import PDFIUM
from deepeyes_env.images.sources.region_source import MAX_WHOLE, RegionSource
from deepeyes_env.images.sources.source_files import Stamp, content_key, unreadable

SUFFIXES = (".pdf",)

DPI = 144
"""Native pixels to the inch, unless the name of a page says ``dpi=``: two to a point."""

MAX_DPI = 4800

_POINTS = 72
_MAX_SIDE = 14400 * MAX_DPI // _POINTS
"""Longest side in native pixels: 200 inches, the most that PDF allows, at the finest scale."""


@dataclass(frozen=True, slots=True)
class Page(RegionSource):
    """A page of a PDF file.

    Attributes:
        path: The file.
        page: Number of the page, from 1.
        dpi: Native pixels to the inch: the scale in which boxes are counted. A zoom is drawn in as many pixels as it is
            shown in, be they more or less.
    """

    path: Path
    page: int = 1
    dpi: int = DPI

    @property
    def key(self) -> str:
        """Its kind, a name by content of the file (see ``content_key``), page and scale."""
        return f"page {content_key(Stamp.of(self.path))} {self.page} {self.dpi}"

    @property
    def size(self) -> Size:
        """``(width, height)`` of the page at its ``dpi``, rounded up to whole pixels."""
        points = _points(Stamp.of(self.path), self.page)
        if not all(0 < side * self.dpi / _POINTS < _MAX_SIDE for side in points):
            raise unreadable(self.path, f"page {self.page} has {points[0]:g} x {points[1]:g} points")
        width, height = (math.ceil(side * self.dpi / _POINTS - 1e-3) for side in points)
        return (width, height)

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file, and ``page=NUMBER&dpi=NUMBER``."""
        return (str(self.path), f"page={self.page}&dpi={self.dpi}")

    def read(self, box: PixelBox, size: Size) -> Image:
        """Draw a part in ``size``; see ``RegionSource.read``."""
        if size[0] * size[1] > MAX_WHOLE:
            raise ImageError(f"image {self.path}: a part of {size[0]} x {size[1]} pixels is too large to be drawn")
        x1, y1, x2, y2 = box
        across, down = size[0] / (x2 - x1), size[1] / (y2 - y1)
        width, height = self.size
        place = (round(-x1 * across), round(-y1 * down), round(width * across), round(height * down))
        pixels = PDFIUM.draw(Stamp.of(self.path), self.page, place, size)
        pixels.flags.writeable = False
        return pixels


@functools.lru_cache(maxsize=4096)
def _points(stamp: Stamp, page: int) -> tuple[float, float]:
    return PDFIUM.points(stamp, page)
