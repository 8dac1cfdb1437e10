"""What an episode looks like: ``rgb_array`` for videos and notebooks, ``ansi`` for terminals."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolResult, Trajectory, Turn
from deepeyes_env.envs.canvas import (
    INK,
    MUTED,
    PAPER,
    Area,
    Mark,
    Tile,
    colour_of,
    draw_image,
    draw_text,
    draw_tiles,
    split,
)
from deepeyes_env.images import Image
from deepeyes_env.images.frames import BBox
from deepeyes_env.option_letters import letter_options
from deepeyes_env.shown import Shown, looks_on, shown_images

FRAME_SIZE = (1280, 720)
"""``(width, height)`` of every rendered frame, in pixels; fixed, so that frames make a video."""

MAX_MESSAGE = 2000
"""How many characters of one message a transcript shows at most."""

_MARGIN = 16
_HEADER = 48
_FOOTER = 48
_SEPARATOR = "  ·  "
_SPACES = {ord(c): " " for c in string.whitespace}


def moments(trajectory: Trajectory) -> list[Trajectory]:
    """Return an episode as it was when it began and after each turn; an ended one is as it ended."""
    running = replace(trajectory, terminated=False, truncated=False, stop_reason="", reward_terms={})
    before = [replace(running, turns=trajectory.turns[:count]) for count in range(len(trajectory.turns))]
    return [*before, trajectory]


def rgb_array(trajectory: Trajectory) -> Image:
    """Draw an episode: the view with every box that was used, numbered, and beside it what each call brought back.

    Above stands the question, below the state of the episode. Calls are numbered over the whole episode; a call and its
    crops have one colour. A call that failed has a tile that says why.

    Returns:
        ``(720, 1280, 3)`` ``uint8``, whatever the episode holds.
    """
    canvas = PILImage.new("RGB", FRAME_SIZE, PAPER)
    draw = ImageDraw.Draw(canvas)
    inner = Area(_MARGIN, _MARGIN, FRAME_SIZE[0] - _MARGIN, FRAME_SIZE[1] - _MARGIN)
    draw_text(draw, inner.top_strip(_HEADER), _heading(trajectory), INK)
    draw_text(draw, inner.bottom_strip(_FOOTER), _state(trajectory), MUTED)
    middle = Area(inner.left, inner.top + _HEADER + 8, inner.right, inner.bottom - _FOOTER - 8)
    shown, beside = split(middle, trajectory.view_size)
    images = shown_images(trajectory)
    draw_image(canvas, shown, images[0].image.pixels(), _marks(trajectory, images[0]))
    draw_tiles(canvas, beside, _tiles(trajectory, images))
    return np.asarray(canvas)


def _marks(trajectory: Trajectory, shown: Shown) -> tuple[Mark, ...]:
    """Return the boxes on an image in fractions of its sides."""
    if shown.region is None or shown.region.tilted:
        return ()
    sides = shown.region.size * 2
    looks = looks_on(trajectory, shown).items()
    return tuple(Mark(number, _fractions(box, sides)) for number, box in looks)


def _fractions(box: BBox, sides: tuple[float, ...]) -> BBox:
    x1, y1, x2, y2 = (value / side for value, side in zip(box, sides, strict=True))
    return (x1, y1, x2, y2)


def _tiles(trajectory: Trajectory, images: Sequence[Shown]) -> list[Tile]:
    marks = {shown.number: _marks(trajectory, shown) for shown in images}
    count = len(trajectory.prompt.images)
    tiles = [Tile(f"image {n + 1}", MUTED, images[n].image.pixels(), marks=marks[n]) for n in range(1, count)]
    returned = iter(images[count:])
    for number, result in enumerate(trajectory.results, 1):
        name = printable(result.call.name, 40)
        if not result.ok:
            note = f"{result.status.replace('_', ' ')}: {printable(result.error, 160)}"
            tiles.append(Tile(f"{number} {name}", MUTED, None, note))
        elif not result.images:
            tiles.append(Tile(f"{number} {name}", colour_of(number), None, printable(result.text, 160)))
        else:
            tiles += [
                Tile(f"{number} {name}", colour_of(number), shown.image.pixels(), marks=marks[shown.number])
                for _, shown in zip(result.images, returned, strict=False)
            ]
    return tiles


def _heading(trajectory: Trajectory) -> str:
    return printable(_SEPARATOR.join([_question(trajectory), *_options(trajectory)]), 400)


def _state(trajectory: Trajectory) -> str:
    turns = len(trajectory.turns)
    parts = [f"turn {turns}" if turns else "the episode begins"]
    if trajectory.done:
        reason = trajectory.stop_reason.replace("_", " ")
        parts.append(reason if trajectory.answer is None else f"answer: {printable(trajectory.answer, 120)}")
        parts.append(f"right answer: {printable(trajectory.sample.answer, 120)}")
        if trajectory.reward_terms:
            parts.append(f"reward {trajectory.reward:g}")
    return _SEPARATOR.join(parts)


def ansi(trajectory: Trajectory) -> str:
    r"""Write an episode as text: question and options, each message with what became of its calls, reward terms.

    Messages of more than ``MAX_MESSAGE`` characters are cut; control characters are shown as ``\xNN``.
    """
    sample = trajectory.sample
    images = ", ".join(f"{image.size[0]} x {image.size[1]}" for image in trajectory.prompt.images)
    stored = [trajectory.native_size, *(image.size for image in sample.images[1:])]
    native = ", ".join(f"{width} x {height}" for width, height in stored)
    which = f"they are stored as {native}" if len(stored) > 1 else f"the first is stored as {native}"
    lines = [
        f"{trajectory.toolbox or 'ordinary question'}, sample {printable(sample.id, 80)}",
        f"images shown: {images} ({which}; boxes are written in frame {trajectory.frame!r})",
        _indented(_question(trajectory)),
        *map(_indented, _options(trajectory)),
    ]
    for number, turn in enumerate(trajectory.turns, 1):
        lines += ["", f"--- turn {number} ---", _indented(turn.action), *_outcome(turn)]
    return "\n".join(lines + _ending(trajectory)) + "\n"


def _outcome(turn: Turn) -> list[str]:
    lines = [f"=> {_result_line(result)}" for result in turn.results]
    if turn.skipped:
        lines.append(f"=> {turn.skipped} more calls were not run")
    if turn.answer is not None:
        lines.append(f"=> answer: {printable(turn.answer, 200)}")
    elif not turn.results:
        lines.append("=> neither a call nor an answer")
    return lines


def _result_line(result: ToolResult) -> str:
    name = printable(result.call.name, 40) or "call"
    if not result.ok:
        return f"{name}: {result.status.replace('_', ' ')}: {printable(result.error, 400)}"
    parts = [f"{name}: ok"]
    if result.box is not None:
        of = f" of image {result.source + 1}" if result.origin else ""
        parts.append("box [" + ", ".join(f"{x:g}" for x in result.box) + f"] in native pixels{of}")
    names = result.names or ("image",) * len(result.images)
    parts += [f"{name} {image.size[0]} x {image.size[1]}" for name, image in zip(names, result.images, strict=False)]
    if result.text:
        parts.append(printable(result.text, 400))
    return ", ".join(parts)


def _ending(trajectory: Trajectory) -> list[str]:
    if not trajectory.done:
        return []
    kind = "terminated" if trajectory.terminated else "truncated"
    lines = ["", f"--- {kind}: {trajectory.stop_reason.replace('_', ' ')} ---"]
    lines.append(f"right answer: {printable(trajectory.sample.answer, 200)}")
    if trajectory.reward_terms:
        lines.append(f"reward {trajectory.reward:g}")
        lines += [
            f"  {name} {term.weighted:g} = {term.weight:g} x {term.raw:g}"
            for name, term in trajectory.reward_terms.items()
        ]
    return lines


def _question(trajectory: Trajectory) -> str:
    return " ".join(trajectory.sample.question.replace(IMAGE_PLACEHOLDER, " ").split())


def _options(trajectory: Trajectory) -> list[str]:
    return [f"({letter}) {option}" for letter, option in letter_options(trajectory.sample.options)]


def _indented(text: str) -> str:
    lines = text[:MAX_MESSAGE].split("\n")
    shown = "\n".join(printable(line, MAX_MESSAGE) for line in lines)
    if len(text) > MAX_MESSAGE:
        shown += f" ... ({len(text) - MAX_MESSAGE} more characters)"
    return textwrap.indent(shown, "    ", lambda line: True)


def printable(text: str, limit: int) -> str:
    """Return one line of at most ``limit`` characters that any terminal and any font can be given.

    Line breaks and tabs become spaces; control characters and lone surrogates are written as escapes.
    """
    shown = text[:limit].translate(_SPACES)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown)
    return shown + "..." if len(text) > limit else shown
