"""NestedSearch: details within details, for which one zoom is not enough."""

from __future__ import annotations

import random
from dataclasses import dataclass

from deepeyes_env.core import Sample
from deepeyes_env.data.visual_search.dataset import MIN_DETAIL, VisualSearch
from deepeyes_env.data.visual_search.glyphs import MARK_LETTERS
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.patterns import VIEW
from deepeyes_env.data.visual_search.questions import Task
from deepeyes_env.data.visual_search.scene import Board
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget

MOST_FIELDS = 4

TASK = "nested"


@dataclass(frozen=True, kw_only=True)
class NestedSearch(VisualSearch):
    """Questions such as "Which pattern is beside the letter K on the red square?", for which it takes two zooms.

    The squares are boards of fields. The view shows no letter and no pattern; a crop of a board shows its letters, and
    only a crop of a field its pattern. Whoever zooms into some field without having seen the letters has seldom the
    right one. ``sample.boxes`` are the board, then the field.

    The dials are those of ``VisualSearch``, but:

    Attributes:
        easy: Share of the questions whose pattern a crop of the board shows: one zoom is enough. None can be answered
            from the view.
        detail: Period of hidden stripes in pixels of the view of a board, at most 1.
        fields: Number of fields of a board, 2 to 4.
        tasks: The one of reading a pattern.
        shapes: Squares.
    """

    size: Size = (1568, 1568)
    view: ViewBudget = VIEW
    tasks: tuple[Task, ...] = ("attribute",)
    objects: tuple[int, int] = (2, 3)
    object_side: tuple[float, float] = (26, 32)
    shapes: tuple[str, ...] = ("square",)
    easy: float = 0.0
    fields: int = MOST_FIELDS

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, only in (("tasks", ("attribute",)), ("shapes", ("square",))):
            if tuple(getattr(self, name)) != only:
                raise UsageError(f"NestedSearch({name}={getattr(self, name)!r}): must be {only!r}")
        if not 2 <= self.fields <= MOST_FIELDS:
            raise UsageError(f"NestedSearch(fields={self.fields!r}): needs 2 to {MOST_FIELDS}")
        period = self.detail * self.scale * self.object_side[0] / max(self.view.fit(self.size))
        if self.easy < 1 and period < MIN_DETAIL:
            raise UsageError(
                f"NestedSearch(size={self.size!r}): a detail of {self.detail:g} pixels in the view of the smallest "
                f"board is {period:.2f} native pixels, and {MIN_DETAIL} are needed to draw it; take larger scenes, a "
                "larger object_side, a view with fewer max_pixels, or easy=1"
            )

    def _sample(self, index: int) -> Sample:
        rng = random.Random(f"{TASK}/{self.seed}/{self.split}/{index}")
        easy = rng.random() < self.easy
        bodies = self._bodies(rng, least=1)
        # As in VisualSearch, everything but the field that is asked for shows other options.
        answer, asked, field = rng.choice(TEXTURES), rng.choice(MARK_LETTERS), rng.randrange(self.fields)
        others = [texture for texture in TEXTURES if texture != answer]
        boards = []
        for number, body in enumerate(bodies):
            letters = rng.sample([letter for letter in MARK_LETTERS if letter != asked], self.fields)
            textures = [rng.choice(others) for _ in range(self.fields)]
            letters[field if number == 0 else rng.randrange(self.fields)] = asked
            if number == 0:
                textures[field] = answer
            look = (body.shape, body.colour, body.x, body.y, body.side)
            boards.append(Board(*look, tuple(letters), tuple(textures), fine=not easy))
        scene = self._scene(rng, tuple(boards))
        name = f"nested_search/{self.split}/{self.seed}/{index}"
        return Sample(
            id=name,
            question=f"Which pattern is beside the letter {asked} on the {boards[0].name}?",
            answer=answer,
            options=tuple(rng.sample(TEXTURES, len(TEXTURES))),
            images=(ImageRef(scene, name=f"of sample {name!r}"),),
            boxes=(boards[0].box, boards[0].field(field)),
            data_source="nested_search",
            metadata={
                "task": TASK,
                "easy": easy,
                "split": self.split,
                "size": list(self.size),
                "view": list(scene.view),
                "objects": {board.name: list(board.box) for board in boards},
            },
        )
