"""Training scenes: views and crops as the environment makes them, labelled with what each image token shows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.patterns import pattern_search
from deepeyes_env.data.visual_search.scene import Item, Scene
from deepeyes_env.images import ops
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.tiny.task import TINY, TinyTask

SCALE = TINY.size[0] // TINY.side
"""How many times as large as its view a scene is."""

SEED = 9_000
"""First seed of the scenes that the policy is built from; runs of training use others."""

READABLE = 2.6
"""Fine stripes can be read when a crop shows them at least this much larger than the view."""

_LEAST_COLOUR, _LEAST_MARK = 40, 50
"""Square pixels of an object, and of its mark, that a cell of ``TINY`` must show."""

_PLATE = 0.27
"""Half the diameter of a mark, as a share of its object's side."""

GOOD, BAD = (2, 10), (12, 32)
"""How far off the middle of an object crops are, in pixels of ``TINY``'s view: least and largest standard deviation."""


Crops: TypeAlias = Literal["good", "bad"]
"""Whether crops show the mark of their object well."""


@dataclass(frozen=True, slots=True)
class Square:
    """An object of a scene.

    Attributes:
        colour: Its colour.
        pattern: What is on it.
        fine: Whether the pattern is hidden from the view.
        box: ``(x1, y1, x2, y2)`` in pixels of the view.
    """

    colour: str
    pattern: str
    fine: bool
    box: BBox


@dataclass(frozen=True)
class Picture:
    """A view or a crop.

    Attributes:
        image: As the policy is shown it.
        box: The part of the scene that it shows, in pixels of the view.
        squares: The objects of the scene.
        target: Number of the object that a crop is meant to show.
        task: What the view is like.
    """

    image: ImageRef
    box: BBox
    squares: tuple[Square, ...]
    target: int = 0
    task: TinyTask = TINY

    @cached_property
    def cells(self) -> Cells:
        """What each image token shows."""
        return _cells(self)


@dataclass(frozen=True, slots=True)
class Cells:
    """What each image token of a picture shows, row by row.

    Attributes:
        square: ``(cells,)``: number of the object that fills most of it; -1 for none.
        pattern: ``(cells,)``: number in ``TEXTURES`` of the pattern that can be read in it; -1 for none.
        box: ``(cells, 4)``: where the object is, in pixels of the picture.
    """

    square: NDArray[np.int64]
    pattern: NDArray[np.int64]
    box: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainingScene:
    """A scene with its view and some crops.

    Attributes:
        view: The whole scene.
        good: Crops that show the mark of their target well.
        bad: Crops that mostly do not.
        easy: Whether the view shows the patterns.
    """

    view: Picture
    good: tuple[Picture, ...]
    bad: tuple[Picture, ...]
    easy: bool

    def crops(self, kind: Crops) -> tuple[Picture, ...]:
        """Return the crops of a kind."""
        return self.good if kind == "good" else self.bad


def draw_training_scenes(
    counts: dict[int, int], seed: int, processes: int, task: TinyTask = TINY
) -> list[list[TrainingScene]]:
    """Draw scenes with crops in several processes.

    Args:
        counts: How many scenes to draw, by number of objects in them.
        seed: Decides the scenes and the crops.
        processes: How many processes draw.
        task: What the scenes are like.

    Returns:
        The scenes of each number of objects.
    """
    jobs = [
        (objects, number // processes, SEED + 1000 * seed + 10 * objects + part, task)
        for objects, number in counts.items()
        for part in range(processes)
    ]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        drawn = list(pool.map(_draw, *zip(*jobs, strict=True)))
    return [
        [scene for job, scenes in zip(jobs, drawn, strict=True) if job[0] == objects for scene in scenes]
        for objects in counts
    ]


def _draw(objects: int, number: int, seed: int, task: TinyTask) -> list[TrainingScene]:
    rng = np.random.default_rng(seed)
    return list(training_scenes(objects, number, seed, rng, task))


def training_scenes(
    objects: int, number: int, seed: int, rng: np.random.Generator, task: TinyTask = TINY
) -> Iterator[TrainingScene]:
    """Draw scenes with crops around their objects.

    Args:
        objects: How many objects each has.
        number: How many scenes.
        seed: Decides the scenes.
        rng: Decides the crops.
        task: What the scenes are like.
    """
    drawn = pattern_search(
        length=number, seed=seed, objects=(objects, objects), easy=0.5, size=task.size, view=task.view
    )
    whole = (0, 0, task.side, task.side)
    for sample in drawn:
        scene = sample.images[0].source
        assert isinstance(scene, Scene)
        pixels = sample.images[0].pixels()
        squares = tuple(
            Square(item.colour, item.mark.value, item.mark.fine, _scaled(item.box))
            for item in scene.items
            if isinstance(item, Item)
        )
        view = Picture(_picture(ops.fit(pixels, task.view.fit(task.size))), whole, squares, task=task)
        targets = range(len(squares))
        good = [_crop(pixels, squares, target, GOOD, rng, task) for target in targets for _ in range(2)]
        bad = [_crop(pixels, squares, target, BAD, rng, task) for target in targets]
        yield TrainingScene(view, tuple(good), tuple(bad), bool(sample.metadata["easy"]))


def _crop(
    pixels: NDArray[np.uint8],
    squares: tuple[Square, ...],
    target: int,
    spread: tuple[float, float],
    rng: np.random.Generator,
    task: TinyTask,
) -> Picture:
    """Cut out a box somewhere around an object, as a zoom does."""
    x1, y1, x2, y2 = squares[target].box
    larger = task.side / TINY.side
    sigma, side = rng.uniform(*spread) * larger, rng.uniform(16, 46) * larger
    width, height = side * rng.uniform(0.8, 1.25), side * rng.uniform(0.8, 1.25)
    x = np.clip((x1 + x2) / 2 + rng.normal() * sigma, width / 2, task.side - width / 2)
    y = np.clip((y1 + y2) / 2 + rng.normal() * sigma, height / 2, task.side - height / 2)
    left, top, right, bottom = (
        round(float(value)) for value in (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    )
    cut = ops.crop(pixels, (left * SCALE, top * SCALE, right * SCALE, bottom * SCALE))
    shown = ops.fit(cut, task.view.fit((cut.shape[1], cut.shape[0])))
    return Picture(_picture(shown), (left, top, right, bottom), squares, target, task)


def _picture(pixels: NDArray[np.uint8]) -> ImageRef:
    return ImageRef.of(np.ascontiguousarray(pixels))


def _scaled(box: BBox) -> BBox:
    x1, y1, x2, y2 = (value / SCALE for value in box)
    return (x1, y1, x2, y2)


def _cells(picture: Picture) -> Cells:
    width, height = picture.image.size
    task = picture.task
    columns, rows, area = width // task.cell, height // task.cell, (task.side / TINY.side) ** 2
    square, pattern = np.full((rows, columns), -1), np.full((rows, columns), -1)
    box, most = np.zeros((rows, columns, 4), np.float32), np.full((rows, columns), _LEAST_COLOUR * area)
    left, top, right, bottom = picture.box
    across, down = width / (right - left), height / (bottom - top)
    for number, each in enumerate(picture.squares):
        x1, y1, x2, y2 = each.box
        shown = ((x1 - left) * across, (y1 - top) * down, (x2 - left) * across, (y2 - top) * down)
        covered = _covered(shown, rows, columns, task.cell)
        radius = _PLATE * (shown[2] - shown[0])
        x, y = (shown[0] + shown[2]) / 2, (shown[1] + shown[3]) / 2
        plate = (x - radius, y - radius, x + radius, y + radius)
        marked = _covered(plate, rows, columns, task.cell) > _LEAST_MARK * area
        here = covered > most
        most[here], square[here], box[here] = covered[here], number, np.clip(shown, 0, task.side)
        readable = not each.fine or across > READABLE
        pattern[here] = np.where(marked[here] & readable, TEXTURES.index(each.pattern), -1)
    return Cells(square.ravel(), pattern.ravel(), box.reshape(-1, 4))


def _covered(box: BBox, rows: int, columns: int, cell: int) -> NDArray[np.float64]:
    """Return how many square pixels of each cell a box covers, ``(rows, columns)``."""
    x, y = np.arange(columns) * cell, np.arange(rows) * cell
    wide = np.clip(np.minimum(box[2], x + cell) - np.maximum(box[0], x), 0, None)
    high = np.clip(np.minimum(box[3], y + cell) - np.maximum(box[1], y), 0, None)
    covered: NDArray[np.float64] = high[:, None] * wide[None, :]
    return covered
