"""Questions over several images, and details within details: true, split for good, and not to be guessed."""

import json
import pickle
from collections import Counter
from dataclasses import asdict, replace
from math import sqrt

import numpy as np
import pytest
from PIL import Image

from deepeyes_env.data import load
from deepeyes_env.data.dataset import BUILT_IN
from deepeyes_env.data.visual_search import ImageSearch, NestedSearch, VisualSearch, pattern_pairs
from deepeyes_env.data.visual_search.several import ORDINALS
from deepeyes_env.errors import UsageError

NAMES = ("image_search", "pattern_pairs", "nested_search")


def scenes_of(sample):
    return [image.source for image in sample.images]


def images_of(sample):
    """The image of each place to look at."""
    return [place.image for place in sample.regions]


def named(sample, image):
    """The object that a question asks for, in an image."""
    (item,) = [item for item in scenes_of(sample)[image].items if item.name in sample.question]
    return item


@pytest.mark.parametrize("name", NAMES)
def test_they_are_data_sets_by_name(name):
    train, test = load(name, length=10), load(name, split="test", length=10)
    assert list(train) == list(load(name, length=10))
    assert len(pickle.dumps(train)) < 700
    assert {image.digest for sample in train for image in sample.images[:1]}.isdisjoint(
        image.digest for sample in test for image in sample.images[:1]
    )
    for sample in train:
        assert sample.id.startswith(f"{sample.data_source}/train/0/")
        assert json.loads(json.dumps(sample.metadata)) == sample.metadata
        assert all({item.x % 2 for item in scene.items} == {0} for scene in scenes_of(sample))
    assert all({item.x % 2 for item in scene.items} == {1} for sample in test for scene in scenes_of(sample))
    assert train[0] != load(name, seed=1)[0]
    assert load(json.loads(json.dumps(asdict(train)))) == train
    assert name in BUILT_IN


def test_what_is_asked_for_is_in_every_image_and_right_in_one():
    seen = Counter()
    for sample in map(ImageSearch(compare=0).__getitem__, range(120)):
        scenes, (image, *_) = scenes_of(sample), images_of(sample)
        seen[len(scenes)] += 1
        assert set(images_of(sample)) == {image}
        assert f" in the {ORDINALS[image]} image?" in sample.question
        assert set(sample.boxes) <= {item.box for item in scenes[image].items}
        marks = [{item.mark.value for item in scene.items} for number, scene in enumerate(scenes) if number != image]
        if sample.metadata["task"] == "position":
            asked = {item.mark.value for item in scenes[image].items if item.box in sample.boxes}
            assert all(not asked & values for values in marks)
        else:
            assert [named(sample, number).mark.value for number in range(len(scenes))].count(sample.answer) == 1
            assert named(sample, image).mark.value == sample.answer
            assert all(sample.answer not in values <= set(sample.options) for values in marks)
    assert set(seen) == {2, 3, 4, 5, 6}


def test_two_images_are_compared():
    values = Counter()
    for sample in map(ImageSearch(compare=1, tasks=("attribute",)).__getitem__, range(120)):
        one, other = images_of(sample)
        assert sample.question.endswith(f" in the {ORDINALS[one]} image and in the {ORDINALS[other]} image?")
        first, second = named(sample, one), named(sample, other)
        assert sample.boxes == (first.box, second.box)
        assert sample.answer == ("yes" if first.mark == second.mark else "no")
        values[first.mark.value, sample.answer] += 1
    for value in {value for value, _ in values}:  # one image alone tells nothing
        yes, no = values[value, "yes"], values[value, "no"]
        assert abs(yes - no) < 4 * sqrt(yes + no)


def test_fields_are_read_beside_their_letters():
    for sample in map(NestedSearch(fields=3).__getitem__, range(120)):
        (scene,) = scenes_of(sample)
        board = named(sample, 0)
        letter = sample.question.split(" letter ")[1][0]
        field = board.letters.index(letter)
        assert (len(set(board.letters)), len(board.textures)) == (3, 3)
        assert board.textures[field] == sample.answer
        assert sample.boxes == (board.box, board.field(field))
        outer, inner = sample.boxes
        assert outer[0] < inner[0] < inner[2] < outer[2]
        assert outer[1] < inner[1] < inner[3] < outer[3]
        assert all(letter in each.letters for each in scene.items)
        others = [texture for each in scene.items for texture in each.textures]
        assert others.count(sample.answer) == 1


def shown(pixels, box):
    return np.asarray(Image.fromarray(pixels).crop(box).resize((112, 112), Image.Resampling.BICUBIC)).astype(int)


@pytest.mark.parametrize("easy", [0.0, 1.0])
def test_one_zoom_shows_the_letters_and_a_second_one_the_pattern(easy):
    sample = NestedSearch(easy=easy, size=(1260, 1260), objects=(1, 1))[0]
    (scene,), (board, field) = scenes_of(sample), sample.boxes
    asked = named(sample, 0)
    rest = tuple(item for item in scene.items if item is not asked)
    number = asked.textures.index(sample.answer)

    def drawn(**changes):
        return replace(scene, items=(replace(asked, **changes), *rest)).render()

    def textured(option):
        return drawn(textures=(*asked.textures[:number], option, *asked.textures[number + 1 :]))

    def apart(one, other, box):
        return np.abs(shown(one, box) - shown(other, box)).max()

    truth, reread = drawn(), drawn(letters=asked.letters[::-1])
    whole = (0, 0, *scene.size)
    assert apart(truth, reread, whole) <= 1
    assert apart(truth, reread, board) > 40
    for option in set(sample.options) - {sample.answer}:
        other = textured(option)
        assert apart(truth, other, whole) <= 1
        assert (apart(truth, other, board) > 60) == bool(easy)
        assert apart(truth, other, board) <= 8 or easy
        assert apart(truth, other, field) > 80


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
def test_the_words_alone_are_at_chance(name):
    rules = {
        "first": lambda sample: sample.options[0],
        "alphabet": lambda sample: min(sample.options),
        "length": lambda sample: sorted(sample.options)[len(sample.question) % len(sample.options)],
        "images": lambda sample: sorted(sample.options)[len(sample.images) % len(sample.options)],
        "image": lambda sample: sorted(sample.options)[images_of(sample)[0] % len(sample.options)],
    }
    samples = list(load(name, split="test", length=1000))
    chance = [1 / len(sample.options) for sample in samples]
    spread = sqrt(sum(share * (1 - share) for share in chance))
    for rule, guess in rules.items():
        assert abs(sum(guess(sample) == sample.answer for sample in samples) - sum(chance)) < 4 * spread, rule


@pytest.mark.parametrize(
    ("made", "settings", "told"),
    [
        (ImageSearch, {"images": (1, 2)}, "2 <= least"),
        (ImageSearch, {"images": (2, 7)}, "largest <= 6"),
        (ImageSearch, {"compare": 1.5}, "share from 0 to 1"),
        (ImageSearch, {"tasks": ("position",)}, "compare=0"),
        (NestedSearch, {"tasks": ("text",)}, "must be"),
        (NestedSearch, {"fields": 5}, "2 to 4"),
        (NestedSearch, {"size": (896, 896)}, "larger scenes"),
        (VisualSearch, {"size": (0, 0)}, "sides of"),
    ],
)
def test_what_cannot_be_drawn_is_refused(made, settings, told):
    with pytest.raises(UsageError, match=told):
        made(**settings)


def test_pairs_are_the_easy_task_twice():
    task = pattern_pairs(easy=0.5, length=8)
    assert (task.images, task.view, task.size) == ((2, 2), load("pattern_search").view, load("pattern_search").size)
    assert all(len(sample.images) == 2 and len(sample.boxes) == 1 for sample in task)
