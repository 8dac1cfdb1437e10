"""VisualSearch: the data set of procedural questions."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from deepeyes_env.core import Sample
from deepeyes_env.data.visual_search.backgrounds import Drawn, Photo, find_photos
from deepeyes_env.data.visual_search.layout import capacity, looks, place
from deepeyes_env.data.visual_search.questions import TASKS, Task, ask
from deepeyes_env.data.visual_search.scene import COLOURS, Board, Body, Item, Scene
from deepeyes_env.data.visual_search.shapes import SHAPES
from deepeyes_env.errors import UsageError
from deepeyes_env.images.box_sides import MIN_BOX_SIDE
from deepeyes_env.images.codec import MAX_PIXELS
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import MIN_SIDE as MIN_SCENE_SIDE
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.registry import unknown_name

Split: TypeAlias = Literal["train", "test"]

_VIEW = ViewBudget(min_pixels=224 * 224, max_pixels=224 * 224)

MIN_DETAIL = 2.5
"""Shortest period of fine stripes in native pixels; letters and dots need as much."""

MAX_CLUTTER = 10_000
"""Most loose bars: they cover the largest scene many times over."""

MIN_SIDE, MIN_EASY_SIDE = 12, 20
"""Smallest side of an object in view pixels: with fine marks only, and for coarse marks that the view shows."""


@dataclass(frozen=True, kw_only=True)
class VisualSearch:
    """Seeded multiple-choice questions about drawn scenes with exact answers and ground-truth boxes.

    A share of the questions can be answered from the view. For the rest, the detail asked for is invisible at
    ``view``, and readable in a crop of any of ``sample.boxes``. Whoever does not look is at chance.

    A sample is a recipe of about a kilobyte, the same for the same settings and index, and drawn when its pixels are
    asked for. Scenes of the two splits are never equal, whatever their seeds and settings.

    Attributes:
        split: ``"train"`` or ``"test"``.
        length: Number of samples.
        seed: Another seed, other samples.
        size: ``(width, height)`` of the scenes in native pixels; from 224 to 8K.
        view: The view at which details are hidden, and which an environment should show.
        tasks: Which questions to ask: ``attribute``, ``position``, ``count``, ``text``.
        objects: Least and largest number of objects in a scene.
        object_side: Least and largest side of an object in view pixels. Smaller ones are harder to find.
        shapes: Shapes of the objects; with a single one, their colours tell them apart.
        easy: Share of the questions that can be answered from the view.
        detail: Period of hidden stripes in view pixels, at most 1; letters and dots go with it. Smaller details need a
            closer zoom.
        clutter: Number of loose bars in drawn backgrounds.
        backgrounds: A folder of photographs, or one, to put behind the objects instead of drawn backgrounds.

    Raises:
        UsageError: The settings are out of range or cannot go together; the message says which and what to change.
    """

    split: Split = "train"
    length: int = 10_000
    seed: int = 0
    size: Size = (896, 896)
    view: ViewBudget = _VIEW
    tasks: tuple[Task, ...] = TASKS
    objects: tuple[int, int] = (3, 6)
    object_side: tuple[float, float] = (22, 30)
    shapes: tuple[str, ...] = SHAPES
    easy: float = 0.3
    detail: float = 1.0
    clutter: int = 8
    backgrounds: str | Path | None = None
    _photos: tuple[Photo, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        _check_ranges(self)
        _check_sizes(self)
        if self.backgrounds is not None:
            object.__setattr__(self, "backgrounds", str(self.backgrounds))  # text is what JSON can hold
            object.__setattr__(self, "_photos", tuple(map(Photo.of, find_photos(Path(self.backgrounds)))))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Make one of settings as JSON gives them back: lists for tuples, an object for the view.

        Raises:
            UsageError: There is no such setting.
        """
        names = [each.name for each in fields(cls) if each.init]
        made: dict[str, Any] = {}
        for name, value in settings.items():
            if name in names:
                made[name] = tuple(value) if isinstance(value, list) else value
            elif name != "_photos":  # which follow from the backgrounds
                raise unknown_name(f"setting of {cls.__name__}", name, names)
        if isinstance(made.get("view"), Mapping):
            made["view"] = ViewBudget(**made["view"])
        return cls(**made)

    @property
    def scale(self) -> float:
        """Native pixels per view pixel, on the axis where they are fewer."""
        width, height = self.view.fit(self.size)
        return min(self.size[0] / width, self.size[1] / height)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Sample]:
        return map(self._sample, range(self.length))

    def __getitem__(self, index: int) -> Sample:
        return self._sample(range(self.length)[index])

    def _sample(self, index: int) -> Sample:
        rng = random.Random(f"{self.seed}/{self.split}/{index}")
        task = rng.choice(self.tasks)
        easy = rng.random() < self.easy
        bodies = self._bodies(rng, least=2 if task == "position" else 1)
        question = ask(task, rng, bodies, fine=not easy)
        items = tuple(map(Item.of, bodies, question.marks))
        scene = self._scene(rng, items)
        name = f"visual_search/{self.split}/{self.seed}/{index}"
        return Sample(
            id=name,
            question=question.text,
            answer=question.answer,
            options=question.options,
            images=(ImageRef(scene, name=f"of sample {name!r}"),),
            boxes=tuple(items[target].box for target in question.targets),
            data_source="visual_search",
            metadata={
                "task": task,
                "easy": easy,
                "split": self.split,
                "size": list(self.size),
                "view": list(scene.view),
                "objects": {item.name: list(item.box) for item in items},
            },
        )

    def _bodies(self, rng: random.Random, least: int) -> list[Body]:
        number = rng.randint(max(least, self.objects[0]), self.objects[1])
        sides = [round(self.scale * rng.uniform(*self.object_side)) for _ in range(number)]
        corners = place(rng, self.size, sides, self._gap, parity=get_args(Split).index(self.split))
        chosen = looks(rng, number, self.shapes)
        return [Body(*look, *corner, side) for look, corner, side in zip(chosen, corners, sides, strict=True)]

    def _scene(self, rng: random.Random, items: tuple[Item | Board, ...]) -> Scene:
        background = self._background(rng)
        return Scene(self.size, self.view.fit(self.size), background, items, self.detail, rng.getrandbits(32))

    def _background(self, rng: random.Random) -> Drawn | Photo:
        if not self._photos:
            return Drawn(self.clutter)
        return replace(rng.choice(self._photos), place=round(rng.random(), 3))

    @property
    def _gap(self) -> int:
        return max(2, math.ceil(2 * self.scale))


def _check_ranges(config: VisualSearch) -> None:
    known: tuple[tuple[str, Sequence[str], Sequence[str]], ...] = (
        ("split", [config.split], get_args(Split)),
        ("tasks", config.tasks, TASKS),
        ("shapes", config.shapes, SHAPES),
    )
    for name, values, allowed in known:
        if not values or not set(values) <= set(allowed):
            raise UsageError(f"VisualSearch({name}={getattr(config, name)!r}): choose from {', '.join(allowed)}")
    ranges = (
        ("length", config.length >= 0, "needs 0 or more"),
        ("easy", 0 <= config.easy <= 1, "needs a share from 0 to 1"),
        ("detail", 0 < config.detail <= 1, "needs more than 0 and at most 1 view pixel"),
        (
            "size",
            min(config.size) >= MIN_SCENE_SIDE and math.prod(config.size) <= MAX_PIXELS,
            f"needs sides of {MIN_SCENE_SIDE} pixels or more, and at most {MAX_PIXELS} pixels",
        ),
        ("clutter", 0 <= config.clutter <= MAX_CLUTTER, f"needs 0 to {MAX_CLUTTER}"),
        ("objects", 1 <= config.objects[0] <= config.objects[1], "needs (least, largest) with 1 <= least <= largest"),
        (
            "object_side",
            config.object_side[0] <= config.object_side[1] < math.inf,
            "needs (least, largest), both finite",
        ),
    )
    for name, fits, need in ranges:
        if not fits:
            raise UsageError(f"VisualSearch({name}={getattr(config, name)!r}): {need}")
    if "position" in config.tasks and config.objects[1] < 2:
        raise UsageError(
            f"VisualSearch(objects={config.objects!r}): the position task compares two objects; allow two or more, or "
            "leave it out of tasks"
        )
    if config.objects[1] > (looks_known := len(config.shapes) * len(COLOURS)):
        raise UsageError(
            f"VisualSearch(objects={config.objects!r}): {len(config.shapes)} shapes in {len(COLOURS)} colours give "
            f"only {looks_known} different objects; ask for fewer"
        )


def _check_sizes(config: VisualSearch) -> None:
    view, scale, hard = config.view.fit(config.size), config.scale, config.easy < 1
    where = f"VisualSearch(size={config.size!r}) seen at {view[0]}x{view[1]}"
    if hard and config.detail * scale < MIN_DETAIL:
        raise UsageError(
            f"{where}: a detail of {config.detail:g} view pixels is {config.detail * scale:.2f} native pixels, and "
            f"{MIN_DETAIL} are needed to draw it; take larger scenes, a view with fewer max_pixels, or easy=1"
        )
    least, largest = config.object_side
    smallest = max(MIN_EASY_SIDE if config.easy > 0 else MIN_SIDE, MIN_BOX_SIDE / scale)
    if least < smallest:
        bound = (
            "20 with easy questions, 12 without" if scale * smallest > MIN_BOX_SIDE else f"{MIN_BOX_SIDE} native pixels"
        )
        raise UsageError(
            f"{where}: object_side={config.object_side!r} is too small; "
            f"objects need {smallest:.1f} view pixels ({bound})"
        )
    room = capacity(config.size, math.ceil(scale * largest), config._gap)
    if config.objects[1] > room:
        raise UsageError(
            f"{where}: there is room for {room} objects of {largest:g} view pixels, not for {config.objects[1]}; "
            "take fewer objects, a smaller object_side, or a view with more max_pixels"
        )
