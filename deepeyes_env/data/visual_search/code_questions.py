"""The questions of ``CodeSearch``: a picture, what is asked about it, and how it is found out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, TypeAlias, get_args

from deepeyes_env.core import ToolCall
from deepeyes_env.data.visual_search.code_programs import (
    contrast_program,
    count_program,
    crop_program,
    length_program,
    rotation_program,
)
from deepeyes_env.data.visual_search.facts import sign_of, town_names
from deepeyes_env.data.visual_search.marks import TEXTURES, Mark
from deepeyes_env.data.visual_search.printed import FaintItem, TurnedItem
from deepeyes_env.data.visual_search.questions import CHOICES
from deepeyes_env.data.visual_search.scene import COLOURS, Body, Item
from deepeyes_env.data.visual_search.strokes import Stroke
from deepeyes_env.images.frames import BBox, Size

Kind: TypeAlias = Literal["count", "length", "contrast", "rotation", "document", "zoom"]
"""Count dots; compare two bars; read a faint pattern, or a turned one; look a town up; read a hidden pattern."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Need: TypeAlias = Literal["code", "search", "zoom", "nothing"]
"""What it takes to answer: a program that computes, a search, a crop, or no more than the view."""

NEEDS: dict[Kind, Need] = {
    "count": "code",
    "length": "code",
    "contrast": "code",
    "rotation": "code",
    "document": "search",
    "zoom": "zoom",
}

LOOK = "look"
"""The kind of a question that can be answered from the view."""

ANGLES = (23, 37, 53, 67, 113, 127, 143, 157)
"""By how many degrees clockwise a pattern is turned; none of them makes another pattern of it."""

UNIT = 448
"""Side in pixels of the drawings that lengths below are said for."""

_CELL, _DOT, _PLAY = 14, 8, 2
_BAR, _STEEPEST, _FLATTEST = 8, 35, 8
_SHORTER = (60, 90)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of a kind.

    Attributes:
        text: The question.
        answer: The right option.
        options: In the order they are stored.
        calls: The calls that find the answer out.
        boxes: Where what is asked for stands, in native pixels.
        strokes: What is drawn on paper, if anything.
        items: Or the objects of a scene.
    """

    text: str
    answer: str
    options: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    boxes: tuple[BBox, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    items: tuple[Item, ...] = ()


def count_dots(rng: random.Random, size: Size, difficulty: float) -> Asked:
    """Ask how many dots of a colour there are, among dots of two others."""
    unit = min(size) / UNIT
    colours = rng.sample(list(COLOURS), 3)
    answer = rng.randint(16, 20 + round(28 * difficulty))
    numbers = (answer, *(rng.randint(6, 14 + round(14 * difficulty)) for _ in colours[1:]))
    cells = list(product(range(int(size[0] / unit) // _CELL), range(int(size[1] / unit) // _CELL)))
    places = iter(rng.sample(cells, sum(numbers)))
    strokes = []
    for colour, number in zip(colours, numbers, strict=True):
        for _ in range(number):
            x, y = ((each + 0.5) * _CELL + rng.uniform(-_PLAY, _PLAY) for each in next(places))
            strokes.append(Stroke(colour, round(x * unit, 2), round(y * unit, 2), 0.0, _DOT * unit))
    first = answer - rng.randrange(CHOICES)
    options = tuple(str(first + number) for number in range(CHOICES))
    program = _python(count_program(colours[0]))
    return Asked(f"How many {colours[0]} dots are there?", str(answer), options, program, (), tuple(strokes))


def compare_bars(rng: random.Random, size: Size, difficulty: float) -> Asked:
    """Ask how many times as long as another bar one is; the options are a tenth apart, or two where it is easy."""
    unit = min(size) / UNIT
    colours = rng.sample(list(COLOURS), 3)
    step = 2 if rng.random() >= 0.4 + difficulty else 1
    place = rng.randrange(CHOICES)
    tenths = rng.randint(11 + place * step, 22 - (CHOICES - 1 - place) * step)
    shorter = rng.uniform(*_SHORTER)
    lengths = (shorter * tenths / 10, shorter, rng.uniform(60, 190))
    band = size[1] / len(lengths)
    strokes = []
    for number, (colour, length) in enumerate(zip(colours, lengths, strict=True)):
        angle = rng.choice((-1, 1)) * rng.uniform(_FLATTEST, _STEEPEST)
        bar = Stroke(colour, 0.0, 0.0, round(length * unit, 2), _BAR * unit, round(angle, 2))
        _, _, right, down = bar.box
        x = rng.uniform(right + 4 * unit, size[0] - right - 4 * unit)
        y = rng.uniform(down + 2 * unit, band - down - 2 * unit) + number * band
        strokes.append(Stroke(colour, round(x, 2), round(y, 2), bar.length, bar.width, bar.angle))
    first = tenths - place * step
    options = tuple(f"{(first + number * step) / 10:.1f}" for number in range(CHOICES))
    text = f"How many times as long as the {colours[1]} bar is the {colours[0]} bar?"
    boxes = (strokes[0].box, strokes[1].box)
    program = _python(length_program(colours[0], colours[1]))
    return Asked(text, options[place], options, program, boxes, tuple(rng.sample(strokes, 3)))


def read_faint(rng: random.Random, bodies: Sequence[Body], difficulty: float) -> Asked:
    """Ask for a pattern of a few grey levels."""
    strength = 0.06 - 0.03 * difficulty
    answer, marks = _marks(rng, bodies, fine=False)
    items = tuple(FaintItem.of(body, mark, strength) for body, mark in zip(bodies, marks, strict=True))
    text = f"Which pattern is faintly printed on the {bodies[0].name}?"
    return _about(bodies, text, answer, items, _python(contrast_program(bodies[0].colour)), rng)


def read_turned(rng: random.Random, bodies: Sequence[Body], difficulty: float) -> Asked:
    """Ask for a pattern that was turned by an angle."""
    answer, marks = _marks(rng, bodies, fine=False)
    angles = [rng.choice(ANGLES) for _ in bodies]
    items = tuple(map(TurnedItem.of, bodies, marks, angles))
    text = f"The {bodies[0].name} was printed with a pattern turned clockwise by {angles[0]} degrees. Which one is it?"
    return _about(bodies, text, answer, items, _python(rotation_program(bodies[0].colour, angles[0])), rng)


def look_up(rng: random.Random, bodies: Sequence[Body], parity: int) -> Asked:
    """Ask for what stands in a document; the picture tells nothing."""
    _, marks = _marks(rng, bodies, fine=False)
    town = rng.choice(town_names(parity))
    calls = (ToolCall("search", {"query": town}),)
    text = f"Which pattern is on the sign of {town}?"
    return Asked(text, sign_of(town), _options(rng), calls, items=tuple(map(Item.of, bodies, marks)))


def read_mark(rng: random.Random, bodies: Sequence[Body], *, fine: bool) -> Asked:
    """Ask for a pattern that only a crop shows, or the view as well."""
    answer, marks = _marks(rng, bodies, fine=fine)
    calls = _python(crop_program(bodies[0].colour, bodies[0].box)) if fine else ()
    text = f"Which pattern is on the {bodies[0].name}?"
    return _about(bodies, text, answer, tuple(map(Item.of, bodies, marks)), calls, rng)


def _marks(rng: random.Random, bodies: Sequence[Body], *, fine: bool) -> tuple[str, list[Mark]]:
    """Return the pattern of the first body, which no other has, and the marks of all."""
    answer = rng.choice(TEXTURES)
    others = [texture for texture in TEXTURES if texture != answer]
    return answer, [Mark("texture", value, fine) for value in (answer, *(rng.choice(others) for _ in bodies[1:]))]


def _about(
    bodies: Sequence[Body],
    text: str,
    answer: str,
    items: tuple[Item, ...],
    calls: tuple[ToolCall, ...],
    rng: random.Random,
) -> Asked:
    return Asked(text, answer, _options(rng), calls, (bodies[0].box,), items=items)


def _options(rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(TEXTURES, CHOICES))


def _python(code: str) -> tuple[ToolCall, ...]:
    return (ToolCall("python", {"code": code}),)


OF_STROKES: dict[str, Callable[[random.Random, Size, float], Asked]] = {"count": count_dots, "length": compare_bars}
"""Kinds about dots and bars."""

OF_PRINTS: dict[str, Callable[[random.Random, Sequence[Body], float], Asked]] = {
    "contrast": read_faint,
    "rotation": read_turned,
}
"""Kinds about patterns that are printed on objects."""
