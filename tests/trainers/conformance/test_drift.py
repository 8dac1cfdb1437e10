"""Where two encodings part, and why: each cause on the tokens of a real tokenizer."""

from __future__ import annotations

import pytest

from deepeyes_env.trainers.conformance.directory import ModelDirectory
from deepeyes_env.trainers.conformance.drift import Encoded, first_drift
from deepeyes_env.trainers.tiny import BASE


@pytest.fixture(scope="module")
def model():
    return ModelDirectory.load(BASE)


@pytest.fixture
def compare(model):
    def compared(ours, theirs, /, **masks):
        sides = [Encoded(tuple(ids), masks.get(name, ())) for name, ids in (("ours", ours), ("theirs", theirs))]
        return first_drift(*sides, model.tokenizer, model.image_token)

    return compared


@pytest.fixture
def ids(model):
    before, after = (model.tokenizer(text, add_special_tokens=False).input_ids for text in ("Look: ", "<think>Red."))
    return [*before, *[model.image_token] * 6, *after]


def test_equal_encodings_have_none(compare, ids):
    assert compare(ids, ids) is None
    assert compare(ids, ids, ours=(True,) * len(ids)) is None  # of which only one says what is trained on


def test_ids_that_were_decoded_and_encoded_again(compare, model, ids):
    place = ids.index(model.tokenizer.convert_tokens_to_ids("<think>"))
    letters = [token for letter in "<think>" for token in model.tokenizer(letter, add_special_tokens=False).input_ids]
    sampled = [*ids[:place], *letters, *ids[place + 1 :]]
    assert model.tokenizer.decode(sampled) == model.tokenizer.decode(ids)
    drift = compare(sampled, ids)
    assert (drift.cause, drift.position) == ("retokenization", place)


def test_another_text(compare, model, ids):
    other = [*ids[:-1], *model.tokenizer("!", add_special_tokens=False).input_ids]
    drift = compare(ids, other)
    assert (drift.cause, drift.position) == ("template", len(ids) - 1)
    assert "'.' to us, '!' to them" in drift.detail


def test_another_number_of_image_tokens(compare, model, ids):
    first = ids.index(model.image_token)
    drift = compare(ids, [*ids[:first], *ids[first + 2 :]])
    assert (drift.cause, drift.position) == ("image count", first + 4)
    assert drift.detail == "image 1 is 6 tokens to us, 4 to them"


def test_an_image_that_is_not_there_is_the_templates_affair(compare, model, ids):
    first = ids.index(model.image_token)
    assert compare(ids, [*ids[:first], *ids[first + 6 :]]).cause == "template"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_cut_through_an_image(compare, model, ids, side):
    first = ids.index(model.image_token)
    kept = ids[first + 2 :] if side == "left" else ids[: first + 4]
    drift = compare(ids, kept)
    assert drift.cause == "truncated image"
    assert "of image 1 4 of 6 tokens are left" in drift.detail


def test_a_cut_through_text(compare, ids):
    drift = compare(ids, ids[:-1])
    assert (drift.cause, drift.position) == ("truncation", len(ids) - 1)


def test_another_mask(compare, ids):
    ours = (False,) * (len(ids) - 1) + (True,)
    drift = compare(ids, ids, ours=ours, theirs=(False,) * len(ids))
    assert (drift.cause, drift.position) == ("mask", len(ids) - 1)
    assert "trained on here, not there" in drift.detail
