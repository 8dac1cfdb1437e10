"""Region: which part of which of a question's images a shown image is, and where a box on it lies.

A crop of a crop, turned and mirrored, is still one box of one stored image, and one of eight ways to hold it. All of it
is shifts, swaps and subtractions of whole numbers, so a box stays exact however deep it is written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from deepeyes_env.errors import UsageError
from deepeyes_env.fast_init import fast_init
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox, Size, iou, is_finite_box, to_pixels
from deepeyes_env.images.ops import crop


@fast_init
@dataclass(frozen=True, slots=True)
class Region:
    """A part of one of the question's images, and how it is held.

    What it looks like: the box is cut out, then mirrored left to right, then turned clockwise.

    Attributes:
        image: Index of the question's image, from 0.
        box: ``(x1, y1, x2, y2)`` in native pixels of that image.
        quarters: Quarter turns clockwise, 0 to 3.
        mirrored: Whether left and right are swapped before it is turned.
        tilted: Whether it was turned by another angle, too: then no box on it is a box of the stored image.
        moment: Of a video, the time of the frame, in seconds; ``None`` for the frame that the question shows.
    """

    image: int
    box: BBox
    quarters: int = 0
    mirrored: bool = False
    tilted: bool = False
    moment: float | None = None

    @classmethod
    def whole(cls, image: int, size: Size) -> Region:
        """Return all of an image of ``(width, height)`` pixels, as it is stored."""
        return cls(image, (0, 0, *size))

    @property
    def size(self) -> tuple[float, float]:
        """``(width, height)`` as it is held, in native pixels."""
        x1, y1, x2, y2 = self.box
        return (y2 - y1, x2 - x1) if self.quarters % 2 else (x2 - x1, y2 - y1)

    @property
    def upright(self) -> bool:
        """Whether it is held as it is stored."""
        return not (self.quarters or self.mirrored or self.tilted)

    def to_source(self, box: BBox) -> BBox:
        """Return where a box on this region lies in the stored image.

        Args:
            box: ``(x1, y1, x2, y2)`` in native pixels of the region as it is held, from its top-left corner.

        Returns:
            The box in native pixels of the stored image; no rounding, no clamping.

        Raises:
            UsageError: The region is tilted.
        """
        self._refuse_tilted()
        x1, y1, x2, y2 = box
        width, height = self.size
        for _ in range(self.quarters):
            x1, y1, x2, y2 = y1, width - x2, y2, width - x1
            width, height = height, width
        if self.mirrored:
            x1, x2 = width - x2, width - x1
        left, top = self.box[:2]
        return (left + x1, top + y1, left + x2, top + y2)

    def from_source(self, box: BBox) -> BBox:
        """Return where a box of the stored image lies on this region; the inverse of ``to_source``."""
        self._refuse_tilted()
        left, top, right, bottom = self.box
        x1, y1, x2, y2 = box[0] - left, box[1] - top, box[2] - left, box[3] - top
        width, height = right - left, bottom - top
        if self.mirrored:
            x1, x2 = width - x2, width - x1
        for _ in range(self.quarters):
            x1, y1, x2, y2 = height - y2, x1, height - y1, x2
            width, height = height, width
        return (x1, y1, x2, y2)

    def sees(self, other: Region) -> BBox | None:
        """Return where another region's box lies on this one; ``None`` where nothing of it is to be seen here."""
        if self.tilted or not self.is_of(other) or not is_finite_box(other.box):
            return None
        x1, y1, x2, y2 = box = self.from_source(other.box)
        width, height = self.size
        return box if x1 < width and y1 < height and x2 > 0 and y2 > 0 else None

    def is_of(self, other: Region) -> bool:
        """Return whether two regions are of the same stored image, and of a video of the same frame."""
        return (self.image, self.moment) == (other.image, other.moment)

    def part(self, box: BBox) -> Region:
        """Return the part of this region within a box on it, held in the same way; see ``to_source``."""
        return replace(self, box=self.to_source(box))

    def turned(self, quarters: int) -> Region:
        """Return this region turned clockwise by quarter turns; negative ones turn counter-clockwise."""
        return Region(self.image, self.box, (self.quarters + quarters) % 4, self.mirrored, self.tilted, self.moment)

    def flipped(self) -> Region:
        """Return this region with left and right swapped, as it is held; turned by two it is upside down."""
        return replace(self, quarters=-self.quarters % 4, mirrored=not self.mirrored)

    def rotated(self, angle: float) -> Region:
        """Return this region turned clockwise by an angle in degrees; tilted unless these are quarter turns."""
        quarters, rest = divmod(angle % 360, 90)
        return replace(self, tilted=True) if rest else self.turned(int(quarters))

    def cut(self, pixels: Image) -> Image:
        """Cut this region out of its stored image and hold it as it is held: a view, nothing is copied.

        Args:
            pixels: All of the stored image, ``(H, W, 3)`` ``uint8``.

        Returns:
            Read-only; its edges are rounded to whole pixels.

        Raises:
            UsageError: The region is tilted, empty, or reaches beyond the image.
        """
        self._refuse_tilted()
        return self.held(crop(pixels, to_pixels(self.box)))

    def held(self, pixels: Image) -> Image:
        """Hold pixels of this region, cut out in any scale, as it is held: a view, nothing is copied."""
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.rot90(pixels, -self.quarters) if self.quarters else pixels

    def _refuse_tilted(self) -> None:
        if self.tilted:
            raise UsageError(
                f"{self}: was turned by an angle that is no quarter turn, so no box on it is a box of the stored "
                "image; take the region that it was made of"
            )


@fast_init
@dataclass(frozen=True, slots=True)
class Origin:
    """What a tool call was about, and what its images show.

    Attributes:
        about: Number of the shown image that the call was about, among all images of the episode, from 0.
        source: Index of the question's image on which its box lies, from 0.
        regions: See ``ToolResult.regions``; one for each returned image.
        names: See ``ToolResult.names``; empty, or one for each returned image.
    """

    about: int = 0
    source: int = 0
    regions: tuple[Region | None, ...] = ()
    names: tuple[str, ...] = ()


def overlap(a: Region, b: Region) -> float:
    """Return the intersection over union of two regions' boxes, in ``[0, 1]``; 0 on different images or frames."""
    return iou(a.box, b.box) if a.is_of(b) else 0.0
