"""The tasks: from unmarked objects to a question, its options, and the marks that make one of them right.

In each task the options are drawn first and the right one evenly among them, so that neither a question nor its
options tell anything about the answer. Marks of other objects show other options: reading the wrong object does not
help.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, TypeAlias, get_args

from deepeyes_env.data.visual_search.marks import MARK_VALUES, Mark, MarkKind
from deepeyes_env.data.visual_search.scene import Body

Task: TypeAlias = Literal["attribute", "position", "count", "text"]
"""Read a texture; compare the places of two letters; count dots; read a letter."""

TASKS: tuple[Task, ...] = get_args(Task)

CHOICES = 4
"""Number of options of every task but ``position``, which has two."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about bodies, and what makes its answer true.

    Attributes:
        text: The question.
        answer: The right option.
        options: The options in the order they are stored.
        marks: The mark of each body.
        targets: Indices of the bodies to look at.
    """

    text: str
    answer: str
    options: tuple[str, ...]
    marks: tuple[Mark, ...]
    targets: tuple[int, ...]


def ask(task: Task, rng: random.Random, bodies: Sequence[Body], *, fine: bool) -> Question:
    """Make a question of a task.

    Args:
        task: Which one.
        rng: Source of chance.
        bodies: The objects, at least two for ``position``. The others ask for the first one.
        fine: Whether the marks cannot be read in the view.
    """
    return _ASK[task](rng, bodies, fine)


def _read(kind: MarkKind, wording: str) -> Callable[[random.Random, Sequence[Body], bool], Question]:
    """Return the maker of questions for the mark of the first body."""

    def ask_for_mark(rng: random.Random, bodies: Sequence[Body], fine: bool) -> Question:
        options = rng.sample(MARK_VALUES[kind], CHOICES)
        answer = rng.choice(options)
        others = [option for option in options if option != answer]
        values = [answer, *(rng.choice(others) for _ in bodies[1:])]
        marks = tuple(Mark(kind, value, fine) for value in values)
        return Question(wording.format(bodies[0].name), answer, tuple(options), marks, (0,))

    return ask_for_mark


def _position(rng: random.Random, bodies: Sequence[Body], fine: bool) -> Question:
    apart = [
        (options, first, second)
        for first, second in permutations(range(len(bodies)), 2)
        for options, before in _SIDES
        if before(bodies[first], bodies[second])
    ]
    options, *pair = rng.choice(apart)
    first, second, *others = rng.sample(MARK_VALUES["letter"], max(3, len(bodies)))
    answer = rng.choice(options)
    # The options name the place of the first letter: it is on the first body if the answer is the first option.
    targets = tuple(pair) if answer == options[0] else (pair[1], pair[0])
    letters = dict(zip(targets, (first, second), strict=True))
    marks = tuple(Mark("letter", letters.get(index) or rng.choice(others), fine) for index in range(len(bodies)))
    text = f"Is the letter {first} {options[0]} or {options[1]} the letter {second}?"
    return Question(text, answer, tuple(rng.sample(options, 2)), marks, targets)


_SIDES: tuple[tuple[tuple[str, str], Callable[[Body, Body], bool]], ...] = (
    (("left of", "right of"), lambda a, b: a.x + a.side <= b.x),
    (("above", "below"), lambda a, b: a.y + a.side <= b.y),
)

_ASK: dict[Task, Callable[[random.Random, Sequence[Body], bool], Question]] = {
    "attribute": _read("texture", "Which pattern is on the {}?"),
    "position": _position,
    "count": _read("dots", "How many dots are on the {}?"),
    "text": _read("letter", "Which letter is on the {}?"),
}
