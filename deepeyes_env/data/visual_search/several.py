"""ImageSearch: questions over several images."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepeyes_env.core import Sample
from deepeyes_env.data.visual_search.dataset import Split, VisualSearch
from deepeyes_env.data.visual_search.marks import MARK_VALUES, Mark, MarkKind
from deepeyes_env.data.visual_search.patterns import SIZE, VIEW
from deepeyes_env.data.visual_search.questions import Task, ask
from deepeyes_env.data.visual_search.scene import Body, Item
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
"""Images are named in words: model families count them from 0 or from 1."""

_COMPARED: dict[Task, tuple[MarkKind, str]] = {
    "attribute": ("texture", "pattern"),
    "count": ("dots", "number of dots"),
    "text": ("letter", "letter"),
}
"""What two images are compared by, in the tasks in which a single object is asked for."""


@dataclass(frozen=True, kw_only=True)
class ImageSearch(VisualSearch):
    """Questions about one or two of several images, such as "Which letter is on the red circle in the third image?".

    Every image holds the object that is asked for, and in the wrong ones it shows a wrong option: whoever looks at
    another image answers wrongly. The dials are those of ``VisualSearch``, for each image, and:

    Attributes:
        images: Least and largest number of images, from 2 to 6.
        compare: Share of the questions that need a look at two images: "Is the letter on the red circle the same in the
            first image and in the third image?" ``sample.boxes`` are then on both.
    """

    images: tuple[int, int] = (2, 6)
    compare: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.images[0] <= self.images[1] <= len(ORDINALS):
            raise UsageError(
                f"ImageSearch(images={self.images!r}): needs (least, largest) with 2 <= least <= largest <= "
                f"{len(ORDINALS)}"
            )
        if not 0 <= self.compare <= 1:
            raise UsageError(f"ImageSearch(compare={self.compare!r}): needs a share from 0 to 1")
        if self.compare and not set(self.tasks) & set(_COMPARED):
            raise UsageError(
                f"ImageSearch(compare={self.compare!r}, tasks={self.tasks!r}): two images are compared by "
                f"{', '.join(_COMPARED)}; give one of these tasks, or compare=0"
            )

    def _sample(self, index: int) -> Sample:
        rng = random.Random(f"several/{self.seed}/{self.split}/{index}")
        compared = rng.random() < self.compare
        task = rng.choice([task for task in self.tasks if not compared or task in _COMPARED])
        easy = rng.random() < self.easy
        number = rng.randint(*self.images)
        layouts = self._layouts(rng, number, least=2 if task == "position" else 1)
        draw = _compare if compared else _ask
        asked = draw(task, rng, layouts, not easy)
        scenes = [
            self._scene(rng, tuple(map(Item.of, bodies, marks)))
            for bodies, marks in zip(layouts, asked.marks, strict=True)
        ]
        name = f"image_search/{self.split}/{self.seed}/{index}"
        return Sample(
            id=name,
            question=asked.text,
            answer=asked.answer,
            options=asked.options,
            images=tuple(ImageRef(scene, name=f"of sample {name!r}") for scene in scenes),
            boxes=tuple(layouts[image][body].box for image, body in asked.targets),
            box_images=tuple(image for image, _ in asked.targets),
            data_source="image_search",
            metadata={
                "task": "compare" if compared else task,
                "easy": easy,
                "images": number,
                "split": self.split,
                "size": list(self.size),
                "view": list(scenes[0].view),
                "objects": [{body.name: list(body.box) for body in bodies} for bodies in layouts],
            },
        )

    def _layouts(self, rng: random.Random, number: int, least: int) -> list[list[Body]]:
        """Place the objects of each image; the first one looks the same in all of them."""
        layouts = [self._bodies(rng, least) for _ in range(number)]
        shape, colour = layouts[0][0].shape, layouts[0][0].colour
        for bodies in layouts[1:]:
            mine = bodies[0]
            for place, body in enumerate(bodies):
                if (body.shape, body.colour) == (shape, colour):
                    bodies[place] = replace(body, shape=mine.shape, colour=mine.colour)
            bodies[0] = replace(mine, shape=shape, colour=colour)
        return layouts


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question about bodies in several images; targets are pairs of image and body."""

    text: str
    answer: str
    options: tuple[str, ...]
    marks: list[list[Mark]]
    targets: tuple[tuple[int, int], ...]


def _ask(task: Task, rng: random.Random, layouts: Sequence[Sequence[Body]], fine: bool) -> _Asked:
    """Ask about one image what is asked of a single one."""
    image = rng.randrange(len(layouts))
    question = ask(task, rng, layouts[image], fine=fine)
    right = {question.marks[target].value for target in question.targets}
    kind = question.marks[0].kind
    tempting = MARK_VALUES[kind] if task == "position" else question.options
    wrong = [value for value in tempting if value not in right]
    marks = [[Mark(kind, rng.choice(wrong), fine) for _ in bodies] for bodies in layouts]
    marks[image] = list(question.marks)
    text = f"{question.text.rstrip('?')} in the {ORDINALS[image]} image?"
    return _Asked(text, question.answer, question.options, marks, tuple((image, each) for each in question.targets))


def _compare(task: Task, rng: random.Random, layouts: Sequence[Sequence[Body]], fine: bool) -> _Asked:
    """Ask whether an object shows the same in two images; either alone tells nothing."""
    kind, word = _COMPARED[task]
    one, other = sorted(rng.sample(range(len(layouts)), 2))
    answer = rng.choice(("yes", "no"))
    marks = [[Mark(kind, rng.choice(MARK_VALUES[kind]), fine) for _ in bodies] for bodies in layouts]
    shown = marks[one][0].value
    marks[other][0] = Mark(
        kind,
        shown if answer == "yes" else rng.choice([value for value in MARK_VALUES[kind] if value != shown]),
        fine,
    )
    text = (
        f"Is the {word} on the {layouts[one][0].name} the same in the {ORDINALS[one]} image and in the "
        f"{ORDINALS[other]} image?"
    )
    return _Asked(text, answer, ("yes", "no"), marks, ((one, 0), (other, 0)))


def pattern_pairs(
    split: Split = "train",
    *,
    length: int = 10_000,
    seed: int = 0,
    objects: tuple[int, int] = (2, 3),
    easy: float = 0.3,
    size: Size = SIZE,
    view: ViewBudget = VIEW,
) -> ImageSearch:
    """Return ``pattern_search`` over two images: the pattern is asked for in one of them.

    Args:
        split: ``train`` or ``test``; scenes of the two are never equal.
        length: Number of questions.
        seed: Another seed, other questions.
        objects: Least and largest number of squares in an image.
        easy: Share of questions that can be answered without a zoom.
        size: ``(width, height)`` of an image in pixels.
        view: View budget; see ``pattern_search``.
    """
    return ImageSearch(
        split=split,
        length=length,
        seed=seed,
        size=size,
        view=view,
        tasks=("attribute",),
        objects=objects,
        shapes=("square",),
        clutter=0,
        easy=easy,
        images=(2, 2),
        compare=0.0,
    )
