"""CodeSearch: questions that a zoom alone does not answer, and a program or a search does."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import get_args

from deepeyes_env.core import SOLUTION, Sample
from deepeyes_env.data.visual_search.backgrounds import Paper
from deepeyes_env.data.visual_search.code_questions import (
    KINDS,
    LOOK,
    NEEDS,
    OF_PRINTS,
    OF_STROKES,
    Asked,
    Kind,
    look_up,
    read_mark,
)
from deepeyes_env.data.visual_search.dataset import Split, VisualSearch
from deepeyes_env.data.visual_search.patterns import SIZE, VIEW
from deepeyes_env.data.visual_search.questions import Task
from deepeyes_env.data.visual_search.scene import Scene
from deepeyes_env.data.visual_search.strokes import StrokeDrawing
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget

NAME = "code_search"


@dataclass(frozen=True, kw_only=True)
class CodeSearch(VisualSearch):
    """Questions for DeepEyesV2's tools: to count, to measure, to mend a picture, to look something up; and to zoom.

    ``count``: how many of many dots have a colour. ``length``: how many times as long as another bar one is.
    ``contrast``: a pattern of a few grey levels. ``rotation``: a pattern that was turned by an odd angle.
    ``document``: a fact about a town, which stands in the documents of ``write_facts`` only; the two splits ask about
    different towns. ``zoom``: a pattern that the view hides, as in ``pattern_search``. All have four options.
    ``metadata["needs"]`` is ``code``, ``search``, ``zoom`` or ``nothing``, and ``metadata["solution"]`` the calls that
    the oracle makes.

    The dials are those of ``VisualSearch``, but:

    Attributes:
        kinds: Which of these questions to ask.
        difficulty: From 0 to 1: more dots, ratios nearer to each other, fainter patterns.
        easy: Share of the questions that can be answered from the view: what the pattern on a square is.
        tasks: The one of reading a pattern.
        shapes: Squares.
    """

    size: Size = SIZE
    view: ViewBudget = VIEW
    tasks: tuple[Task, ...] = ("attribute",)
    objects: tuple[int, int] = (2, 3)
    object_side: tuple[float, float] = (28, 34)
    shapes: tuple[str, ...] = ("square",)
    easy: float = 0.1
    clutter: int = 0
    kinds: tuple[Kind, ...] = KINDS
    difficulty: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, only in (("tasks", ("attribute",)), ("shapes", ("square",))):
            if tuple(getattr(self, name)) != only:
                raise UsageError(f"CodeSearch({name}={getattr(self, name)!r}): must be {only!r}")
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise UsageError(f"CodeSearch(kinds={self.kinds!r}): choose from {', '.join(KINDS)}")
        if not 0 <= self.difficulty <= 1:
            raise UsageError(f"CodeSearch(difficulty={self.difficulty!r}): needs 0 to 1")
        if min(self.size) < SIZE[0] or max(self.size) > 4 * min(self.size):
            raise UsageError(f"CodeSearch(size={self.size!r}): needs sides of {SIZE[0]} or more, at most 4 to 1")

    def _sample(self, index: int) -> Sample:
        rng = random.Random(f"{NAME}/{self.seed}/{self.split}/{index}")
        kind: str = LOOK if rng.random() < self.easy else rng.choice(self.kinds)
        asked, picture = self._asked(kind, rng)
        name = f"{NAME}/{self.split}/{self.seed}/{index}"
        return Sample(
            id=name,
            question=asked.text,
            answer=asked.answer,
            options=asked.options,
            images=(ImageRef(picture, name=f"of sample {name!r}"),),
            boxes=asked.boxes,
            data_source=NAME,
            metadata={
                "task": kind,
                "easy": kind == LOOK,
                "needs": NEEDS.get(kind, "nothing"),  # type: ignore[call-overload]
                "split": self.split,
                "size": list(self.size),
                "view": list(self.view.fit(self.size)),
                SOLUTION: [{"name": call.name, "arguments": dict(call.arguments)} for call in asked.calls],
            },
        )

    def _asked(self, kind: str, rng: random.Random) -> tuple[Asked, Scene | StrokeDrawing]:
        parity = get_args(Split).index(self.split)
        if kind in OF_STROKES:
            asked = OF_STROKES[kind](rng, self.size, self.difficulty)
            # Noise of different parity is never equal, and so are no drawings of the two splits.
            return asked, StrokeDrawing(self.size, asked.strokes, 2 * rng.getrandbits(31) + parity)
        bodies = self._bodies(rng, least=1)
        if kind in OF_PRINTS:
            asked = OF_PRINTS[kind](rng, bodies, self.difficulty)
            paper = Scene(self.size, self.view.fit(self.size), Paper(), (), self.detail, rng.getrandbits(32))
            return asked, replace(paper, items=asked.items)
        asked = look_up(rng, bodies, parity) if kind == "document" else read_mark(rng, bodies, fine=kind == "zoom")
        return asked, replace(self._scene(rng, ()), items=asked.items)
