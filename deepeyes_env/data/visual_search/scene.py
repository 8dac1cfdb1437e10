"""Scene: the recipe of an image, drawn when its pixels are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.data.visual_search import marks, shapes
from deepeyes_env.data.visual_search.backgrounds import Drawn, Paper, Photo, noise
from deepeyes_env.data.visual_search.hiding import Pattern, hide
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

FIELD_PLATE, LETTER = 0.22, 0.03
"""Diameter of the plate in a field of a board, and side of a letter's cell, as shares of the side of all fields."""


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

    @classmethod
    def of(cls, body: Body, mark: Mark, *more: Any) -> Self:
        """Mark a body; ``more`` are the fields that a kind of item adds."""
        return cls(body.shape, body.colour, body.x, body.y, body.side, mark, *more)

    def pattern(self, scene: Scene) -> tuple[Pattern, int, int]:
        """Return what is printed on the plate, ``(diameter, diameter)``, and where it stands on the object: x, y."""
        x, y, diameter = shapes.plate_offset(self.shape, self.side)
        origin, scale = (self.x + x, self.y + y), scene.scale
        mark = marks.draw(self.mark, diameter, origin, (scene.detail * scale[0], scene.detail * scale[1]))
        return (hide(mark, origin, scene.size, scene.view) if self.mark.fine else mark), x, y

    @property
    def plate(self) -> Pixels:
        """How much of each pixel of the plate's square is plate."""
        return shapes.coverage("circle", shapes.plate_offset(self.shape, self.side)[2])


@dataclass(frozen=True, slots=True)
class Board(Body):
    """A square with up to four fields: in each a letter beside a round plate with a texture, a detail within a detail.

    The view shows neither. A crop of the board shows the letters, and a crop of a field its texture, too.

    Attributes:
        letters: One a field, row by row.
        textures: Likewise.
        fine: Whether a crop of the whole board does not show the textures.
    """

    letters: tuple[str, ...]
    textures: tuple[str, ...]
    fine: bool

    def field(self, number: int) -> BBox:
        """Return the box of a field's plate in native pixels, with a margin of a tenth of it."""
        edge, _, diameter = self._sides
        margin = diameter // 10
        column, row = self._plate(number)
        left, top = self.x + edge + column - margin, self.y + edge + row - margin
        return (left, top, left + diameter + 2 * margin, top + diameter + 2 * margin)

    def pattern(self, scene: Scene) -> tuple[Pattern, int, int]:
        """Return what is printed on the fields, and where that stands on the board: x, y."""
        edge, inner, diameter = self._sides
        period = (scene.detail * self.side / scene.view[0], scene.detail * self.side / scene.view[1])
        pattern = np.zeros((inner, inner))
        for number, (letter, texture) in enumerate(zip(self.letters, self.textures, strict=True)):
            x, y = self._plate(number)
            mark = marks.draw(Mark("texture", texture, self.fine), diameter, (edge + x, edge + y), period)
            if self.fine:
                mark = hide(mark, (edge + x, edge + y), (self.side, self.side), scene.view)
            left, top = number % 2 * (inner // 2), number // 2 * (inner // 2)
            ink = marks.letter(letter, round(LETTER * inner), (x - left, inner // 2))
            for part, column, row in ((mark, x, y), (ink, left, top)):
                hidden = hide(part, (self.x + edge + column, self.y + edge + row), scene.size, scene.view)
                pattern[row : row + part.shape[0], column : column + part.shape[1]] = hidden
        return pattern, edge, edge

    @property
    def plate(self) -> Pixels:
        """How much of each pixel of the fields is plate: all of it."""
        return np.ones((self._sides[1],) * 2, np.float32)

    @property
    def _sides(self) -> tuple[int, int, int]:
        """The edge of the board, the side of all fields together, and the diameter of a plate, in native pixels."""
        edge = round(0.1 * self.side)
        inner = self.side - 2 * edge
        return edge, inner, round(FIELD_PLATE * inner)

    def _plate(self, number: int) -> tuple[int, int]:
        """Return where a field's plate stands within the fields, in the middle of the field's right: x, y."""
        _, inner, diameter = self._sides
        right, middle = (number % 2 + 1) * (inner // 2), number // 2 * (inner // 2) + inner // 4
        return right - diameter - inner // 50, middle - diameter // 2


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
    background: Drawn | Paper | Photo
    items: tuple[Item | Board, ...]
    detail: float
    seed: int

    @property
    def key(self) -> str:
        """Text that determines the pixels; the number is raised whenever scenes are drawn differently."""
        return f"visual_search 1 {self!r}"

    @property
    def scale(self) -> tuple[float, float]:
        """Native pixels per view pixel, along x and y."""
        return (self.size[0] / self.view[0], self.size[1] / self.view[1])

    def render(self) -> Image:
        """Draw the scene: ``(H, W, 3)`` ``uint8``.

        Raises:
            ImageError: The photograph behind it cannot be read.
        """
        rng = np.random.default_rng(self.seed)
        grain = max(1, round(min(self.scale)))
        image = self.background.draw(self.size, grain, rng)
        for item in self.items:
            patch = image[item.y : item.y + item.side, item.x : item.x + item.side]
            patch[:] = self._drawn_on(patch, item, noise((item.side, item.side), grain, rng))
        image.flags.writeable = False
        return image

    def _drawn_on(self, patch: Image, item: Item | Board, grains: NDArray[np.int8]) -> Image:
        inside = shapes.coverage(item.shape, item.side)[..., None]
        fill = shapes.coverage(item.shape, item.side, inset=0.05 * item.side)[..., None]
        paint = _mixed(np.array(RIM, np.float32), fill, np.array(COLOURS[item.colour], np.float32))
        mark, x, y = item.pattern(self)
        plate = paint[y : y + mark.shape[0], x : x + mark.shape[1]]
        plate[:] = _mixed(plate, item.plate[..., None], np.array(PLATE, np.float32))
        plate += (CONTRAST / max(1.0, np.abs(mark).max()) * mark).astype(np.float32)[..., None]
        paint += grains[..., None]
        return np.rint(_mixed(patch, inside, paint)).clip(0, 255).astype(np.uint8)


def _mixed(below: Pixels, cover: Pixels, above: Pixels) -> NDArray[np.float32]:
    mixed: NDArray[np.float32] = below + cover * (above - below)
    return mixed
