"""Marks: the details that questions ask for, as patterns of grey."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from deepeyes_env.data.visual_search.glyphs import GLYPH_HEIGHT, GLYPH_WIDTH, MARK_LETTERS, glyph
from deepeyes_env.data.visual_search.hiding import Pattern

MarkKind: TypeAlias = Literal["texture", "letter", "dots"]

TEXTURES = ("horizontal stripes", "vertical stripes", "diagonal stripes", "checks")
COUNTS = ("1", "2", "3", "4", "5", "6")

MARK_VALUES: dict[MarkKind, tuple[str, ...]] = {"texture": TEXTURES, "letter": MARK_LETTERS, "dots": COUNTS}
"""What a mark of each kind can show."""

LETTER_CELL, DOT = 0.4, 0.8
"""Sides of a letter's cell and of a dot on a fine mark, relative to the period of the stripes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is printed on an object.

    Attributes:
        kind: A texture, a letter or a number of dots.
        value: One of ``MARK_VALUES[kind]``.
        fine: Whether the mark is too small to be seen in the view.
    """

    kind: MarkKind
    value: str
    fine: bool


def draw(mark: Mark, side: int, origin: tuple[int, int], period: tuple[float, float]) -> Pattern:
    """Draw a mark on a round plate.

    Args:
        mark: The mark.
        side: Diameter of the plate in native pixels.
        origin: Native ``(x, y)`` of the plate's top left corner in the scene; gives the phase of the stripes and the
            places of the dots.
        period: Period of fine stripes along x and y, in native pixels; fine letters and dots are scaled by it. Coarse
            marks fill the plate.

    Returns:
        The pattern, ``(side, side)``.
    """
    match mark.kind:
        case "texture":
            return _texture(mark.value, side, origin, period if mark.fine else (side / 3, side / 3))
        case "letter":
            cell = LETTER_CELL * min(period) if mark.fine else side / math.hypot(GLYPH_WIDTH, GLYPH_HEIGHT)
            return letter(mark.value, max(1, round(cell)), (side, side))
        case "dots":
            diameter = max(2.0, DOT * min(period)) if mark.fine else 0.16 * side
            return _dots(int(mark.value), side, diameter, random.Random(f"{origin}"))


def _texture(value: str, side: int, origin: tuple[int, int], period: tuple[float, float]) -> Pattern:
    x, y = (2 * math.pi * (np.arange(side) + 0.5 + start) / each for start, each in zip(origin, period, strict=True))
    match value:
        case "horizontal stripes":
            wave = np.broadcast_to(np.cos(y)[:, None], (side, side))
        case "vertical stripes":
            wave = np.broadcast_to(np.cos(x)[None, :], (side, side))
        case "diagonal stripes":
            wave = np.cos(x[None, :] + y[:, None])
        case _:
            wave = np.cos(x)[None, :] * np.cos(y)[:, None]
    from_centre = (np.arange(side) + 0.5) / side * 2 - 1
    radius = np.sqrt(from_centre[None, :] ** 2 + from_centre[:, None] ** 2)
    mark: Pattern = np.clip(1.6 * wave, -1, 1) * np.clip((1 - radius) * 8, 0, 1)
    return mark


def letter(value: str, cell: int, size: tuple[int, int]) -> Pattern:
    """Draw a letter in the middle of ``(width, height)`` pixels; its strokes are ``cell`` pixels wide."""
    width, height = size
    ink = glyph(value).repeat(cell, axis=0).repeat(cell, axis=1)
    ink = ink[:height, :width]
    top, left = (height - ink.shape[0]) // 2, (width - ink.shape[1]) // 2
    pattern = np.zeros((height, width))
    pattern[top : top + ink.shape[0], left : left + ink.shape[1]] = -1.0 * ink
    return pattern


def _dots(number: int, side: int, diameter: float, rng: random.Random) -> Pattern:
    pitch, play = 0.26 * side, 0.03 * side
    places = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    rng.shuffle(places)
    shifts = [(rng.uniform(-play, play), rng.uniform(-play, play)) for _ in places]
    pixels = np.arange(side) + 0.5 - side / 2
    pattern = np.zeros((side, side))
    for (row, column), (down, right) in zip(places[:number], shifts, strict=False):
        y, x = pixels - row * pitch - down, pixels - column * pitch - right
        pattern -= np.clip(0.5 + diameter / 2 - np.sqrt(x[None, :] ** 2 + y[:, None] ** 2), 0, 1)
    return np.clip(pattern, -1, 1)
