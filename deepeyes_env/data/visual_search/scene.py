"""Scene: the recipe of an image, drawn when its pixels are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.data.visual_search import marks, shapes
from deepeyes_env.data.visual_search.backgrounds import Drawn, Photo, noise
from deepeyes_env.data.visual_search.hiding import hide
from deepeyes_env.data.visual_search.marks import Mark
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox, Size

RGB: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = NDArray[Any]

# Noise and the halo of a hidden mark are added to these: far enough from 0 and 255 that nothing is clipped.
COLOURS: dict[str, RGB] = {
    "red": (205, 45, 45),
    "orange": (222, 130, 40),
    "yellow": (220, 200, 50),
    "green": (45, 160, 75),
    "cyan": (50, 185, 200),
    "blue": (45, 90, 210),
    "purple": (140, 65, 180),
}
RIM: RGB = (228, 228, 228)
PLATE: RGB = (128, 128, 128)
CONTRAST = 95
"""How far a mark goes from the grey of its plate, in grey levels."""


@dataclass(frozen=True, slots=True)
class Body:
    """A coloured shape and the square that it fills.

    Attributes:
        shape: One of ``shapes.SHAPES``.
        colour: One of ``COLOURS``.
        x: Left edge in native pixels.
        y: Top edge in native pixels.
        side: Width and height in native pixels.
    """

    shape: str
    colour: str
    x: int
    y: int
    side: int

    @property
    def name(self) -> str:
        """Colour and shape, as questions say it."""
        return f"{self.colour} {self.shape}"

    @property
    def box(self) -> BBox:
        """``(x1, y1, x2, y2)`` in native pixels."""
        return (self.x, self.y, self.x + self.side, self.y + self.side)


@dataclass(frozen=True, slots=True)
class Item(Body):
    """An object of a scene: a body with a marked plate on it."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that determines the pixels of a scene; a ``Renderable``.

    Attributes:
        size: ``(width, height)`` in native pixels.
        view: ``(width, height)`` at which fine marks are invisible.
        background: What lies behind the objects.
        items: The objects; they do not overlap.
        detail: Period of fine stripes in view pixels.
        seed: Seed of the noise and of a drawn background.
    """

    size: Size
    view: Size
    background: Drawn | Photo
    items: tuple[Item, ...]
    detail: float
    seed: int

    @property
    def key(self) -> str:
        """Text that determines the pixels; the number is raised whenever scenes are drawn differently."""
        return f"visual_search 1 {self!r}"

    def render(self) -> Image:
        """Draw the scene: ``(H, W, 3)`` ``uint8``.

        Raises:
            ImageError: The photograph behind it cannot be read.
        """
        rng = np.random.default_rng(self.seed)
        scale = (self.size[0] / self.view[0], self.size[1] / self.view[1])
        grain = max(1, round(min(scale)))
        image = self.background.draw(self.size, grain, rng)
        for item in self.items:
            patch = image[item.y : item.y + item.side, item.x : item.x + item.side]
            patch[:] = self._drawn_on(patch, item, scale, noise((item.side, item.side), grain, rng))
        image.flags.writeable = False
        return image

    def _drawn_on(self, patch: Image, item: Item, scale: tuple[float, float], grains: NDArray[np.int8]) -> Image:
        inside = shapes.coverage(item.shape, item.side)[..., None]
        fill = shapes.coverage(item.shape, item.side, inset=0.05 * item.side)[..., None]
        x, y, diameter = shapes.plate_offset(item.shape, item.side)
        paint = _mixed(np.array(RIM, np.float32), fill, np.array(COLOURS[item.colour], np.float32))
        plate = paint[y : y + diameter, x : x + diameter]
        plate[:] = _mixed(plate, shapes.coverage("circle", diameter)[..., None], np.array(PLATE, np.float32))
        origin = (item.x + x, item.y + y)
        mark = marks.draw(item.mark, diameter, origin, (self.detail * scale[0], self.detail * scale[1]))
        if item.mark.fine:
            mark = hide(mark, origin, self.size, self.view)
        plate += (CONTRAST / max(1.0, np.abs(mark).max()) * mark).astype(np.float32)[..., None]
        paint += grains[..., None]
        return np.rint(_mixed(patch, inside, paint)).clip(0, 255).astype(np.uint8)


def _mixed(below: Pixels, cover: Pixels, above: Pixels) -> NDArray[np.float32]:
    mixed: NDArray[np.float32] = below + cover * (above - below)
    return mixed
