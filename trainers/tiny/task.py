"""TinyTask: the scenes that the tiny policy of a family is built from, and how it writes boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepeyes_env.agents.families import FAMILIES
from deepeyes_env.data.dataset import PATTERN_PAIRS, PATTERN_SEARCH
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Frame
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.registry import unknown_name

PLAYED = {PATTERN_SEARCH: "VisualToolbox-v2", PATTERN_PAIRS: "VisualToolboxQwen3VL-v0"}
"""The built-in tasks that a tiny policy can be built for, and the environment that each is played in."""


@dataclass(frozen=True, slots=True)
class TinyTask:
    """The task of a family's tiny policy: a view of four by four image tokens, of a scene four times as large.

    Attributes:
        family: Its ``model_type``.
        cell: Side in pixels of what becomes one image token.
        steps: Into how many steps a side of the view is divided; a box is written in whole steps.
        unit: What a step is in the coordinates of the family.
        data: The built-in task that it learns: one of ``PLAYED``.
    """

    family: str
    cell: int
    steps: int
    unit: int
    data: str = PATTERN_SEARCH

    @property
    def images(self) -> int:
        """How many images a question has."""
        return 2 if self.data == PATTERN_PAIRS else 1

    @property
    def toolbox(self) -> str:
        """The environment that it is played in; with two images, a call names one by its number."""
        return PLAYED[self.data]

    @property
    def side(self) -> int:
        """Side of the view in pixels."""
        return 4 * self.cell

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` of a scene in pixels."""
        return (4 * self.side, 4 * self.side)

    @property
    def view(self) -> ViewBudget:
        """The view budget: all images have as many pixels as the view."""
        return ViewBudget(self.side**2, self.side**2, self.cell)

    @property
    def frame(self) -> Frame:
        """Coordinate frame in which the policy writes boxes."""
        return FAMILIES[self.family].frame

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers in boxes, each of which is one token."""
        return tuple(str(self.unit * step) for step in range(self.steps + 1))

    def written(self, box: Sequence[float]) -> list[str]:
        """Return a box in pixels of the view as the policy writes it."""
        steps = (round(value * (self.steps / self.side)) for value in box)
        return [self.numbers[min(self.steps, max(0, step))] for step in steps]


TASKS = {
    task.family: task
    for task in (
        TinyTask("qwen2_5_vl", cell=28, steps=112, unit=1),
        TinyTask("qwen3_vl", cell=32, steps=125, unit=8),
    )
}
"""The families of which a tiny policy can be built."""

TINY = TASKS["qwen2_5_vl"]
"""The task of the policy that ships with the package."""

PAIRS = replace(TINY, data=PATTERN_PAIRS)
"""The same over two images."""


def tiny_task(family: str, data: str = PATTERN_SEARCH) -> TinyTask:
    """Return the task of a tiny policy.

    Args:
        family: One of ``TASKS``.
        data: One of ``PLAYED``.

    Raises:
        UnknownNameError: There is no such family, or no such task.
        UsageError: The task has other scenes than the family's.
    """
    if family not in TASKS:
        raise unknown_name("family of a tiny policy", family, TASKS)
    if data not in PLAYED:
        raise unknown_name("task of a tiny policy", data, PLAYED)
    if data != PATTERN_SEARCH and family != TINY.family:
        raise UsageError(f"a tiny {family} for {data!r}: only {TINY.family} is built for it; leave the family out")
    return replace(TASKS[family], data=data)
