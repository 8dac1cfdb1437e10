"""The drawing board of ``deepeyes_env.envs.render``: areas, text, boxes, tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from deepeyes_env.images import Image
from deepeyes_env.images.frames import BBox, Size

Colour: TypeAlias = tuple[int, int, int]
Font: TypeAlias = "ImageFont.FreeTypeFont | ImageFont.ImageFont"

PAPER: Colour = (24, 26, 31)
INK: Colour = (236, 238, 242)
MUTED: Colour = (150, 156, 168)
PANEL: Colour = (38, 41, 48)
COLOURS: tuple[Colour, ...] = (
    (255, 97, 86),
    (64, 156, 255),
    (255, 196, 46),
    (54, 201, 134),
    (205, 120, 255),
    (255, 145, 60),
    (50, 205, 220),
    (255, 125, 190),
)
"""Colours of calls, in order and again from the start; told apart on photographs as well as on the dark paper."""

MAX_TILES = 24
"""Most tiles beside the view; what is left over is counted on the last one."""

_GAP = 10
_CAPTION = 20
_FONT_SIZE = 16


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of the canvas, in whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """``(width, height)``, at least 1 x 1."""
        return (max(1, self.right - self.left), max(1, self.bottom - self.top))

    def top_strip(self, height: int) -> Area:
        """Return the uppermost ``height`` pixels."""
        return Area(self.left, self.top, self.right, self.top + height)

    def bottom_strip(self, height: int) -> Area:
        """Return the lowest ``height`` pixels."""
        return Area(self.left, self.bottom - height, self.right, self.bottom)


@dataclass(frozen=True, slots=True)
class Mark:
    """A box on an image.

    Attributes:
        number: Number of its call.
        box: ``(x1, y1, x2, y2)`` in fractions of the image's sides.
    """

    number: int
    box: BBox


@dataclass(frozen=True, slots=True)
class Tile:
    """One result beside the view.

    Attributes:
        caption: A line below it.
        colour: Colour of its border.
        image: Pixels, ``(H, W, 3)`` ``uint8``; ``None`` for a tile of text.
        note: The text of a tile without an image.
        marks: The boxes on it.
    """

    caption: str
    colour: Colour
    image: Image | None = None
    note: str = ""
    marks: tuple[Mark, ...] = ()


def colour_of(number: int) -> Colour:
    """Return the colour of the call with this number, counted from 1."""
    return COLOURS[(number - 1) % len(COLOURS)]


@lru_cache(maxsize=8)
def _font(size: int = _FONT_SIZE) -> Font:
    return ImageFont.load_default(size)


def fit_size(size: Size, room: Size) -> Size:
    """Return ``size`` scaled up or down to fill ``room`` without changing its shape; at least 1 x 1."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return (max(1, min(room[0], round(size[0] * scale))), max(1, min(room[1], round(size[1] * scale))))


def fitted(pixels: Image, area: Area) -> PILImage.Image:
    """Return an image scaled to fit an area."""
    image = PILImage.fromarray(pixels)
    return image.resize(fit_size(image.size, area.size), PILImage.Resampling.BICUBIC, reducing_gap=3.0)


def split(area: Area, view: Size) -> tuple[Area, Area]:
    """Divide an area between the view and the tiles, side by side or one above the other, whichever shows more of it.

    Depends on the size of the view alone, so that nothing moves during an episode.
    """
    width, height = area.size
    column = Area(area.left, area.top, area.left + int(width * 0.62), area.bottom)
    row = Area(area.left, area.top, area.right, area.top + int(height * 0.62))
    if math.prod(fit_size(view, row.size)) > math.prod(fit_size(view, column.size)):
        used = fit_size(view, row.size)[1]
        return row, Area(area.left, area.top + used + 2 * _GAP, area.right, area.bottom)
    used = fit_size(view, column.size)[0]
    return column, Area(area.left + used + 2 * _GAP, area.top, area.right, area.bottom)


def draw_text(draw: ImageDraw.ImageDraw, area: Area, text: str, colour: Colour, size: int = _FONT_SIZE) -> None:
    """Write text into an area, broken between words; what does not fit is cut."""
    font = _font(size)
    line_height = size + 6
    lines: list[str] = []
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(joined, font) <= area.size[0]:
            lines[-1] = joined
        else:
            lines.append(_cut(draw, word, area.size[0], font))
    fitting = max(1, area.size[1] // line_height)
    if len(lines) > fitting:
        lines = [*lines[: fitting - 1], _cut(draw, f"{lines[fitting - 1]} ...", area.size[0], font)]
    for i, line in enumerate(lines):
        draw.text((area.left, area.top + i * line_height), line, colour, font)


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int, font: Font) -> str:
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}...", font) > width:
        text = text[:-1].rstrip(" .")
    return f"{text}..." if text else ""


def draw_image(canvas: PILImage.Image, area: Area, pixels: Image, marks: Sequence[Mark]) -> Area:
    """Draw an image and its boxes as large as an area has room for; returns where."""
    image = fitted(pixels, area)
    frame = Area(area.left, area.top, area.left + image.width, area.top + image.height)
    canvas.paste(image, (frame.left, frame.top))
    for mark in marks:
        x1, x2 = (frame.left + x * image.width for x in mark.box[::2])
        y1, y2 = (frame.top + y * image.height for y in mark.box[1::2])
        mark_box(canvas, (x1, y1, x2, y2), str(mark.number), colour_of(mark.number), frame)
    return frame


def mark_box(canvas: PILImage.Image, box: BBox, label: str, colour: Colour, within: Area) -> None:
    """Draw a box with a flag above it, or below, or inside; a tiny box is drawn large enough to be seen."""
    draw = ImageDraw.Draw(canvas)
    x1, x2 = _visible(box[0], box[2], within.left, within.right)
    y1, y2 = _visible(box[1], box[3], within.top, within.bottom)
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=PAPER, width=5)
    draw.rectangle((x1, y1, x2, y2), outline=colour, width=3)
    width, height = round(draw.textlength(label, _font())) + 10, _FONT_SIZE + 4
    left = max(within.left, min(x1, within.right - width))
    places = (y1 - height, y2 + 1)
    top = next((y for y in places if within.top <= y <= within.bottom - height), y1)
    draw.rectangle((left, top, left + width, top + height), fill=colour)
    draw.text((left + 5, top + 1), label, PAPER, _font())


def _visible(low: float, high: float, least: int, most: int) -> tuple[int, int]:
    a, b = round(low), max(round(low) + 6, round(high) - 1)
    shift = max(0, b - (most - 1))
    return max(least, a - shift), max(least, b - shift)


def draw_tiles(canvas: PILImage.Image, area: Area, tiles: Sequence[Tile]) -> None:
    """Arrange tiles in a grid that fills an area, as large as they can be."""
    if len(tiles) > MAX_TILES:
        left_over = Tile("", MUTED, None, f"and {len(tiles) - MAX_TILES + 1} more")
        tiles = [*tiles[: MAX_TILES - 1], left_over]
    if not tiles:
        return
    sizes = [(tile.image.shape[1], tile.image.shape[0]) if tile.image is not None else (4, 3) for tile in tiles]
    columns = max(range(1, len(tiles) + 1), key=lambda c: sum(map(math.prod, _shown_sizes(sizes, c, area))))
    cell_width, cell_height = _cell(len(tiles), columns, area)
    for i, tile in enumerate(tiles):
        left = area.left + (i % columns) * (cell_width + _GAP)
        top = area.top + (i // columns) * (cell_height + _GAP)
        _draw_tile(canvas, tile, Area(left, top, left + cell_width, top + cell_height))


def _cell(count: int, columns: int, area: Area) -> Size:
    rows = -(-count // columns)
    width, height = area.size
    return (max(1, (width - (columns - 1) * _GAP) // columns), max(1, (height - (rows - 1) * _GAP) // rows))


def _shown_sizes(sizes: Sequence[Size], columns: int, area: Area) -> list[Size]:
    width, height = _cell(len(sizes), columns, area)
    room = (max(1, width - 6), max(1, height - 6 - _CAPTION))
    return [fit_size(size, room) for size in sizes]


def _draw_tile(canvas: PILImage.Image, tile: Tile, cell: Area) -> None:
    draw = ImageDraw.Draw(canvas)
    room = Area(cell.left + 3, cell.top + 3, cell.right - 3, cell.bottom - 3 - _CAPTION)
    if tile.image is None:
        frame = Area(cell.left, cell.top, cell.right, min(cell.bottom - _CAPTION, cell.top + 120))
        draw.rectangle((frame.left, frame.top, frame.right - 1, frame.bottom - 1), fill=PANEL, outline=tile.colour)
        text = Area(frame.left + 8, frame.top + 8, frame.right - 8, frame.bottom - 4)
        draw_text(draw, text, tile.note, INK, 14)
    else:
        inner = draw_image(canvas, room, tile.image, tile.marks)
        frame = Area(inner.left - 3, inner.top - 3, inner.right + 3, inner.bottom + 3)
        draw.rectangle((frame.left, frame.top, frame.right - 1, frame.bottom - 1), outline=tile.colour, width=3)
    caption = _cut(draw, tile.caption, cell.size[0], _font(13))
    draw.text((cell.left, frame.bottom + 2), caption, tile.colour, _font(13))
