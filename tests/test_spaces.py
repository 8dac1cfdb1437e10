"""UnicodeText and RGBImage: membership, samples, equality, JSON."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env.spaces import RGBImage, UnicodeText


@given(st.text(st.characters(codec="utf-8")))
def test_text_holds_all_unicode(text):
    assert text in UnicodeText()


@pytest.mark.parametrize("text", ['{"a": "\\u0000\x00"}', "<tool_call>größer</tool_call>", "", "🖼️\n"])
def test_text_holds_what_models_write(text):
    assert text in UnicodeText()


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", b"bytes", None, 3, ["text"]])
def test_text_refuses_surrogates_and_other_types(value):
    assert value not in UnicodeText()


def test_text_bounds():
    space = UnicodeText(5, min_length=2)
    assert "ab" in space
    assert "a" not in space
    assert "abcdef" not in space
    with pytest.raises(ValueError, match="min_length"):
        UnicodeText(1, min_length=2)


@pytest.mark.parametrize("space", [UnicodeText(), UnicodeText(9, min_length=3), RGBImage(), RGBImage(min_side=28)])
def test_samples_are_inside_and_seeded(space):
    space.seed(3)
    first = [space.sample() for _ in range(20)]
    space.seed(3)
    second = [space.sample() for _ in range(20)]
    assert all(sample in space for sample in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({np.asarray(sample).tobytes() for sample in first}) > 10


@pytest.mark.parametrize("space", [UnicodeText(), RGBImage(max_side=40)])
def test_samples_survive_json(space):
    space.seed(0)
    samples = [space.sample() for _ in range(5)]
    back = space.from_jsonable(json.loads(json.dumps(space.to_jsonable(samples))))
    assert all(np.array_equal(a, b) for a, b in zip(samples, back, strict=True))


def test_equality():
    assert UnicodeText(5) == UnicodeText(5)
    assert UnicodeText(5) != UnicodeText(6)
    assert RGBImage() == RGBImage()
    assert RGBImage(max_side=9) != RGBImage()
    assert UnicodeText() != RGBImage()
    assert pickle.loads(pickle.dumps(RGBImage(max_side=9))) == RGBImage(max_side=9)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), [[[0, 0, 0]]], None],
)
def test_image_refuses(image):
    assert image not in RGBImage()


def test_image_bounds():
    space = RGBImage(min_side=28, max_side=100)
    assert np.zeros((28, 100, 3), np.uint8) in space
    assert np.zeros((27, 100, 3), np.uint8) not in space
    assert np.zeros((28, 101, 3), np.uint8) not in space


@pytest.mark.parametrize("space", [UnicodeText(), RGBImage()])
def test_masks_are_refused(space):
    with pytest.raises(ValueError, match="mask"):
        space.sample(mask=1)


def test_batching_as_gymnasium_does():
    space = gym.spaces.Dict(text=UnicodeText(), images=gym.spaces.Sequence(RGBImage()), seed=0)
    batched = batch_space(space, 3)
    samples = [space.sample() for _ in range(3)]
    together = concatenate(space, samples, create_empty_array(space, 3))
    assert together in batched
    for one, back in zip(samples, iterate(batched, together), strict=True):
        assert back["text"] == one["text"]
        assert len(back["images"]) == len(one["images"])
