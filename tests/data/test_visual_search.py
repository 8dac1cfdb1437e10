"""The procedural task as a data set: the same sample every time, small, in range, split for good."""

import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.data import load
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.data.visual_search.layout import capacity, looks, place
from deepeyes_env.images import ImageRef, ViewBudget

TASKS = ("attribute", "position", "count", "text")


def square(side):
    return ViewBudget(min_pixels=side * side, max_pixels=side * side)


def scene_of(sample):
    return sample.images[0].source


def test_a_sample_is_the_same_every_time():
    one, other = VisualSearch(length=20), VisualSearch(length=20)
    assert list(one) == list(other)
    assert one[3] == one[3] == pickle.loads(pickle.dumps(one))[3]
    assert np.array_equal(one[3].images[0].pixels(), other[3].images[0].pixels())


def test_settings_change_the_samples():
    samples = [VisualSearch()[0], VisualSearch(seed=1)[0], VisualSearch(split="test")[0], VisualSearch()[1]]
    assert len({sample.images[0].digest for sample in samples}) == len({sample.id for sample in samples}) == 4


def test_it_is_a_data_set_that_recommends_its_view():
    task = VisualSearch(length=5)
    assert len(task) == len(list(task)) == 5
    assert task[-1].id == task[4].id == task[np.int64(4)].id
    with pytest.raises(IndexError):
        task[5]
    assert load(task) is task
    assert load("visual_search", split="test", length=7).view == square(224)


def test_data_set_and_samples_are_tiny():
    task = VisualSearch()
    assert len(pickle.dumps(task)) < 500
    assert max(len(pickle.dumps(task[index])) for index in range(50)) < 1500


def test_a_pickled_sample_draws_the_same_pixels():
    sample = VisualSearch(size=(448, 448), view=square(112), objects=(1, 3))[0]
    again = pickle.loads(pickle.dumps(sample))
    assert again.images[0].digest == sample.images[0].digest
    assert np.array_equal(again.images[0].pixels(), sample.images[0].pixels())


def test_equal_keys_mean_equal_images():
    scene = scene_of(VisualSearch()[0])
    assert replace(scene).key == scene.key
    for changed in (
        replace(scene, seed=scene.seed + 1),
        replace(scene, detail=0.9),
        replace(scene, view=(196, 196)),
        replace(scene, items=scene.items[1:]),
        replace(scene, background=replace(scene.background, clutter=0)),
    ):
        assert changed.key != scene.key
        assert ImageRef(changed) != ImageRef(scene)


def test_samples_hold_what_evaluation_needs():
    for sample in map(VisualSearch(size=(800, 600)).__getitem__, range(200)):
        assert json.loads(json.dumps(sample.metadata)) == sample.metadata
        assert sample.metadata["task"] in TASKS
        assert sample.metadata["size"] == [800, 600] == list(sample.images[0].size)
        assert len(sample.options) == len(set(sample.options)) == (2 if sample.metadata["task"] == "position" else 4)
        assert len(sample.boxes) == (2 if sample.metadata["task"] == "position" else 1)
        boxes = list(map(tuple, sample.metadata["objects"].values()))
        assert set(sample.boxes) <= set(boxes)
        assert 3 <= len(boxes) <= 6
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 < x2 <= 800
            assert 0 <= y1 < y2 <= 600
            assert min(x2 - x1, y2 - y1) > 30


def test_answers_are_true():
    """The answer follows from the scene alone, by a reading that shares nothing with how it was made."""
    for sample in map(VisualSearch().__getitem__, range(300)):
        marks = {item.mark.value: item for item in scene_of(sample).items}
        if sample.metadata["task"] == "position":
            words = sample.question.rstrip("?").split()
            first, second = marks[words[3]], marks[words[-1]]
            assert sample.boxes == (first.box, second.box)
            truth = {
                "left of": first.x + first.side <= second.x,
                "right of": second.x + second.side <= first.x,
                "above": first.y + first.side <= second.y,
                "below": second.y + second.side <= first.y,
            }
            assert [option for option in sample.options if truth[option]] == [sample.answer]
        else:
            (named,) = [item for item in scene_of(sample).items if item.name in sample.question]
            assert named.mark.value == sample.answer
            assert sample.boxes == (named.box,)
            assert all(item.mark.value != sample.answer for item in scene_of(sample).items if item is not named)


def test_both_words_of_an_object_are_needed():
    for sample in map(VisualSearch(tasks=("attribute",)).__getitem__, range(100)):
        target, *others = scene_of(sample).items
        assert any(item.colour == target.colour for item in others)
        assert any(item.shape == target.shape for item in others)


def test_letters_cannot_be_taken_for_the_letter_of_a_choice():
    options = {
        option for sample in map(VisualSearch(tasks=("text",)).__getitem__, range(200)) for option in sample.options
    }
    assert len(options) > 10
    assert not options & set("ABCDEF")


def test_share_of_easy_questions():
    easy = [sample.metadata["easy"] for sample in VisualSearch(length=3000)]
    assert 0.26 < np.mean(easy) < 0.34
    assert not any(sample.metadata["easy"] for sample in VisualSearch(length=50, easy=0))
    assert all(sample.metadata["easy"] for sample in VisualSearch(length=50, easy=1))


def test_tasks_objects_and_shapes_follow_the_settings():
    samples = VisualSearch(
        length=300, tasks=("count", "text"), objects=(2, 4), shapes=("square",), object_side=(24, 25)
    )
    assert {sample.metadata["task"] for sample in samples} == {"count", "text"}
    assert {len(scene_of(sample).items) for sample in samples} == {2, 3, 4}
    items = [item for sample in samples for item in scene_of(sample).items]
    assert {item.shape for item in items} == {"square"}
    assert {item.side for item in items} <= set(range(96, 101))


def test_splits_share_no_layout_whatever_their_seeds():
    def edges(split, seed):
        task = VisualSearch(split=split, seed=seed, length=500)
        return {item.x % 2 for sample in task for item in scene_of(sample).items}

    assert all(edges("train", seed) == {0} and edges("test", seed) == {1} for seed in (0, 1, 2))


def test_splits_are_independent_streams():
    train, test = VisualSearch(length=500), VisualSearch(length=500, split="test")
    assert not {sample.question + str(sample.boxes) for sample in train} & {s.question + str(s.boxes) for s in test}
    same = [a.answer == b.answer for a, b in zip(train, test, strict=True)]
    assert np.mean(same) < 0.3


def test_setting_of_the_tiny_policy():
    task = VisualSearch(
        size=(448, 448), view=square(112), tasks=("attribute",), objects=(1, 3), object_side=(20, 24), clutter=0
    )
    options = {frozenset(sample.options) for sample in map(task.__getitem__, range(50))}
    assert len(options) == 1
    assert {len(scene_of(sample).items) for sample in map(task.__getitem__, range(50))} == {1, 2, 3}
    sample = next(s for s in task if not s.metadata["easy"] and s.answer == "vertical stripes")
    x1, y1, x2, y2 = map(int, sample.boxes[0])
    line = sample.images[0].pixels()[(y1 + y2) // 2, (x1 + x2) // 2 - 12 : (x1 + x2) // 2 + 12, 0].astype(int)
    assert np.abs(np.fft.rfft(line - line.mean())).argmax() == 24 // 4


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"split": "val"}, r"split='val'.*train, test"),
        ({"tasks": ("colour",)}, r"tasks=.*attribute, position, count, text"),
        ({"tasks": ()}, "tasks"),
        ({"shapes": ("star",)}, "shapes=.*circle"),
        ({"length": -1}, "length=-1"),
        ({"size": (0, 0)}, r"size=\(0, 0\)\): needs sides of 28 pixels or more"),
        ({"size": (896, -1)}, r"size=\(896, -1\)\): needs sides"),
        ({"size": (10, 10)}, r"size=\(10, 10\)\): needs sides"),
        ({"size": (10**6, 10**6)}, r"size=\(1000000, 1000000\)\): .* at most 201326592 pixels"),
        ({"easy": 1.5}, "easy=1.5"),
        ({"detail": 1.2}, "detail=1.2"),
        ({"clutter": -1}, "clutter=-1"),
        ({"clutter": 10**12}, "clutter=1000000000000.: needs 0 to 10000"),
        ({"object_side": (float("nan"), 30)}, "object_side=.*needs"),
        ({"object_side": (30, float("inf"))}, "object_side=.*needs"),
        ({"objects": (4, 2)}, r"objects=\(4, 2\)"),
        ({"objects": (0, 2)}, r"objects=\(0, 2\)"),
        ({"objects": (1, 1)}, "position task compares two"),
        ({"objects": (3, 9), "shapes": ("circle",)}, "only 7 different objects"),
        ({"size": (224, 224)}, r"size=\(224, 224\).* seen at 224x224.*fewer max_pixels"),
        ({"detail": 0.5}, r"0.5 view pixels is 2.00 native pixels"),
        ({"objects": (3, 28), "object_side": (40, 50)}, "room for 16 objects.*not for 28"),
        ({"object_side": (10, 12)}, "objects need 20.0 view pixels"),
        ({"object_side": (10, 12), "easy": 0}, "objects need 12.0 view pixels"),
        ({"size": (560, 560), "object_side": (12, 13), "easy": 0}, "objects need 12.8 view pixels.*32 native"),
        ({"backgrounds": "no/such/folder"}, "no/such/folder"),
    ],
)
def test_impossible_settings_say_what_to_change(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        VisualSearch(**settings)


@pytest.mark.parametrize(
    ("size", "view"),
    [((224, 224), 84), ((640, 360), 168), ((896, 896), 224), ((333, 1001), 112), ((3840, 2160), 448)],
)
def test_scenes_of_any_size_are_drawn(size, view):
    task = VisualSearch(size=size, view=square(view), objects=(2, 3), object_side=(20, 24))
    pixels = task[0].images[0].pixels()
    assert pixels.shape == (size[1], size[0], 3)
    assert pixels.dtype == np.uint8
    assert not pixels.flags.writeable


def test_easy_scenes_need_no_room_to_hide():
    sample = VisualSearch(size=(224, 224), easy=1, objects=(2, 4), object_side=(32, 40))[0]
    assert sample.images[0].pixels().shape == (224, 224, 3)


@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(60, 400), st.integers(60, 400)),
    st.lists(st.integers(8, 30), min_size=1, max_size=12),
    st.integers(2, 9),
    st.integers(0, 1),
)
def test_places_are_inside_and_apart(seed, size, sides, gap, parity):
    sides = sides[: max(1, capacity(size, max(sides), gap))]
    corners = place(random.Random(seed), size, sides, gap, parity)
    squares = [(x, y, x + side, y + side) for (x, y), side in zip(corners, sides, strict=True)]
    for number, (x1, y1, x2, y2) in enumerate(squares):
        assert x1 % 2 == parity
        assert 0 <= x1 < x2 <= size[0]
        assert 0 <= y1 < y2 <= size[1]
        for a1, b1, a2, b2 in squares[:number]:
            assert x2 < a1 or a2 < x1 or y2 < b1 or b2 < y1


@given(st.integers(0, 2**32), st.integers(1, 28))
def test_looks_are_different(seed, number):
    chosen = looks(random.Random(seed), number, ("circle", "square", "triangle", "diamond"))
    assert len(chosen) == len(set(chosen)) == number
