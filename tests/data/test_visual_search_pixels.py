"""Hidden details cannot be seen in the view and can be read in a crop, proved on the drawn pixels."""

import math
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.data.visual_search.hiding import hide
from deepeyes_env.data.visual_search.marks import MARK_VALUES, Mark, draw
from deepeyes_env.data.visual_search.shapes import SHAPES, coverage, plate_offset
from deepeyes_env.images import ViewBudget

TASKS = ("attribute", "position", "count", "text")


def square(side):
    return ViewBudget(min_pixels=side * side, max_pixels=side * side)


SETTINGS = {
    "default": {},
    "tiny policy": {"size": (448, 448), "view": square(112), "objects": (2, 3)},
    "uneven scale": {"size": (500, 375), "view": square(140), "objects": (2, 4)},
    "smallest": {"size": (224, 224), "view": square(84), "objects": (2, 3), "object_side": (20, 24)},
    "finer detail": {"size": (672, 672), "view": square(112), "objects": (2, 3), "detail": 0.5},
}


def fitted(pixels, view):
    image = Image.fromarray(pixels)
    return np.asarray(image.resize(view.fit(image.size), Image.Resampling.BICUBIC)).astype(int)


def cropped(pixels, box):
    x1, y1, x2, y2 = map(int, box)
    return pixels[y1:y2, x1:x2]


def alternatives(sample):
    """The sample's scene redrawn so that each option in turn is the right one, all else being equal."""
    scene = sample.images[0].source
    items = list(scene.items)
    if sample.metadata["task"] == "position":
        a, b = (index for index, item in enumerate(items) if item.box in sample.boxes)
        items[a], items[b] = replace(items[a], mark=items[b].mark), replace(items[b], mark=items[a].mark)
        (other,) = set(sample.options) - {sample.answer}
        return {sample.answer: scene, other: replace(scene, items=tuple(items))}
    (target,) = (index for index, item in enumerate(items) if item.box == sample.boxes[0])
    scenes = {}
    for option in sample.options:
        items[target] = replace(items[target], mark=replace(items[target].mark, value=option))
        scenes[option] = replace(scene, items=tuple(items))
    assert scenes[sample.answer] == scene
    return scenes


def read(shown, templates):
    """The option whose template is nearest to what is shown."""
    return min(templates, key=lambda option: np.sum((templates[option] - shown) ** 2))


def templates(sample, view, box=None):
    """What each option would look like, with other noise than the sample's own."""
    scenes = {option: replace(scene, seed=scene.seed + 1) for option, scene in alternatives(sample).items()}
    return {option: fitted(cropped(scene.render(), box or whole(scene)), view) for option, scene in scenes.items()}


def whole(scene):
    return (0, 0, *scene.size)


def assert_hidden_and_readable(sample, view, *, most=1, least=30):
    drawn = {option: scene.render() for option, scene in alternatives(sample).items()}
    truth = drawn[sample.answer]
    for option in set(sample.options) - {sample.answer}:
        assert np.abs(fitted(drawn[option], view) - fitted(truth, view)).max() <= most
        for box in sample.boxes:
            shown, other = (fitted(cropped(pixels, box), view) for pixels in (truth, drawn[option]))
            assert np.abs(shown - other).max() >= least
    for box in sample.boxes:
        assert read(fitted(cropped(truth, box), view), templates(sample, view, box)) == sample.answer


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("settings", SETTINGS)
def test_hidden_in_the_view_readable_in_each_box(settings, task):
    data = VisualSearch(tasks=(task,), easy=0, **SETTINGS[settings])
    for sample in islice(data, 2):
        assert_hidden_and_readable(sample, data.view)


@pytest.mark.parametrize("task", TASKS)
def test_easy_questions_can_be_read_in_the_view(task):
    data = VisualSearch(tasks=(task,), easy=1, size=(448, 448), view=square(112), objects=(2, 3))
    for sample in islice(data, 6):
        view = fitted(sample.images[0].pixels(), data.view)
        assert read(view, templates(sample, data.view)) == sample.answer


@pytest.mark.integration
def test_the_best_reader_of_views_is_at_chance():
    """Knows everything about the scene but the noise and the answer, and has the likeliest answer for white noise."""
    data = VisualSearch(
        tasks=("text", "attribute"), easy=0, size=(448, 448), view=square(112), objects=(1, 2), clutter=0
    )
    right = sum(
        read(fitted(sample.images[0].pixels(), data.view), templates(sample, data.view)) == sample.answer
        for sample in islice(data, 48)
    )
    assert abs(right - 12) < 4 * math.sqrt(48 / 4 * 3 / 4)


def test_noise_of_the_view_is_above_what_a_detail_leaves():
    data = VisualSearch(easy=0)
    scene = data[0].images[0].source
    views = [fitted(replace(scene, seed=seed).render(), data.view) for seed in (1, 2)]
    plate = [cropped(view, [edge / 4 for edge in data[0].boxes[0]]) for view in views]
    assert np.std(plate[0] - plate[1]) > 2


def test_brightness_of_a_mark_does_not_tell_it():
    for kind, values in MARK_VALUES.items():
        for origin in ((13, 22), (100, 7)):
            marks = [
                hide(draw(Mark(kind, value, True), 48, origin, (4, 4)), origin, (896, 896), (224, 224))
                for value in values
            ]
            assert max(abs(mark.mean()) for mark in marks) < 0.02


@pytest.mark.integration
@pytest.mark.parametrize(
    ("size", "view", "objects"), [((3840, 2160), ViewBudget(), (2, 4)), ((7680, 4320), square(448), (1, 1))]
)
def test_hidden_in_large_scenes(size, view, objects):
    data = VisualSearch(size=size, view=view, objects=objects, easy=0, tasks=("text",), clutter=2)
    sample = data[0]
    scenes = alternatives(sample)
    other = next(option for option in sample.options if option != sample.answer)
    truth, changed = scenes[sample.answer].render(), scenes[other].render()
    assert truth.shape == (size[1], size[0], 3)
    assert np.abs(fitted(truth, view) - fitted(changed, view)).max() <= 1
    crops = [fitted(cropped(pixels, sample.boxes[0]), view) for pixels in (truth, changed)]
    assert np.abs(crops[0] - crops[1]).max() > 30


@pytest.mark.parametrize("scale", [2.5, 2.917, 4, 13.3])
def test_hide_leaves_nothing_for_pillow_to_show(scale):
    side, view = round(14 * scale), (60, 45)
    size = (round(view[0] * scale), round(view[1] * scale))
    origin = (round(9.3 * scale), round(17.8 * scale))
    pattern = np.random.default_rng(0).uniform(-1, 1, (side, side))
    for shown in (pattern, hide(pattern, origin, size, view)):
        scene = np.zeros((size[1], size[0]), np.float32)
        scene[origin[1] : origin[1] + side, origin[0] : origin[0] + side] = shown
        seen = np.abs(np.asarray(Image.fromarray(scene).resize(view, Image.Resampling.BICUBIC))).max()
        assert (seen < 1e-3) == (shown is not pattern)


def test_nothing_of_a_hidden_mark_is_clipped():
    data = VisualSearch(easy=0, clutter=0)
    for sample in islice(data, 12):
        for item in sample.images[0].source.items:
            x, y, side = plate_offset(item.shape, item.side)
            plate = cropped(sample.images[0].pixels(), (item.x + x, item.y + y, item.x + x + side, item.y + y + side))
            inside = plate[coverage("circle", side) == 1]
            assert 5 < inside.min() < inside.max() < 250


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [33, 96, 400])
def test_plates_lie_inside_their_shapes(shape, side):
    x, y, diameter = plate_offset(shape, side)
    plate = coverage("circle", diameter) > 0.5
    assert coverage(shape, side)[y : y + diameter, x : x + diameter][plate].min() > 0.4


def test_unknown_shape():
    with pytest.raises(ValueError, match=r"'star'.*circle"):
        coverage("star", 10)
