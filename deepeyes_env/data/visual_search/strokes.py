"""StrokeDrawing: dots and bars on paper, to be counted and measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.data.visual_search.backgrounds import Paper
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox, Size


@dataclass(frozen=True, slots=True)
class Stroke:
    """A dot, or a bar with straight ends.

    Attributes:
        colour: One of ``COLOURS``.
        x: Of the middle, in native pixels.
        y: Likewise.
        length: From end to end in native pixels; 0 is a dot.
        width: Thickness of a bar, or diameter of a dot, in native pixels.
        angle: Direction of a bar in degrees, clockwise from the x axis.
    """

    colour: str
    x: float
    y: float
    length: float
    width: float
    angle: float = 0.0

    @property
    def reach(self) -> float:
        """How far from the middle it goes in any direction, in native pixels."""
        return math.hypot(self.length, self.width) / 2

    @property
    def box(self) -> BBox:
        """``(x1, y1, x2, y2)`` around it in native pixels."""
        turn = math.radians(self.angle)
        along, across = self.length / 2, self.width / 2
        if not self.length:
            return (self.x - across, self.y - across, self.x + across, self.y + across)
        right = abs(math.cos(turn)) * along + abs(math.sin(turn)) * across
        down = abs(math.sin(turn)) * along + abs(math.cos(turn)) * across
        return (self.x - right, self.y - down, self.x + right, self.y + down)

    def covers(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which points it covers; their places in native pixels, broadcast against each other."""
        right, down = columns - self.x, rows - self.y
        if not self.length:
            inside: NDArray[np.bool_] = np.hypot(right, down) <= self.width / 2
            return inside
        turn = math.radians(self.angle)
        along = right * math.cos(turn) + down * math.sin(turn)
        beside = down * math.cos(turn) - right * math.sin(turn)
        inside = (np.abs(along) <= self.length / 2) & (np.abs(beside) <= self.width / 2)
        return inside


@dataclass(frozen=True, slots=True)
class StrokeDrawing:
    """Everything that determines the pixels of a drawing; a ``Renderable``.

    Attributes:
        size: ``(width, height)`` in native pixels.
        strokes: They do not overlap.
        seed: Seed of the noise.
    """

    size: Size
    strokes: tuple[Stroke, ...]
    seed: int

    @property
    def key(self) -> str:
        """Text that determines the pixels; the number is raised whenever drawings are drawn differently."""
        return f"strokes 1 {self!r}"

    def render(self) -> Image:
        """Draw the strokes: ``(H, W, 3)`` ``uint8``."""
        rng = np.random.default_rng(self.seed)
        image = Paper().draw(self.size, 1, rng)
        for stroke in self.strokes:
            x1, y1, x2, y2 = stroke.box
            left, top = max(0, math.floor(x1)), max(0, math.floor(y1))
            patch = image[top : math.ceil(y2) + 1, left : math.ceil(x2) + 1]
            rows, columns = np.arange(patch.shape[0]) + top + 0.5, np.arange(patch.shape[1]) + left + 0.5
            covered = stroke.covers(columns[None, :], rows[:, None])
            grain = patch.astype(np.int16)[covered] - Paper.GREY
            patch[covered] = (grain + np.array(COLOURS[stroke.colour], np.int16)).clip(0, 255)
        image.flags.writeable = False
        return image
