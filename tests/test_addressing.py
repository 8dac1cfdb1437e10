"""The table of how model families name images: numbers, names, and what is refused."""

import pytest

from deepeyes_env.addressing import ADDRESSINGS, Addressing, get_addressing
from deepeyes_env.errors import ArgumentError, UnknownNameError, UsageError


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("deepeyes", [0]),
        ("qwen3_vl", [0, 1]),
        ("mini_o3", ["original_image_1", "original_image_2", "observation_1", "observation_2"]),
        ("deepeyes_v2", ["image_1", "image_2", "image_3", "image_4"]),
    ],
)
def test_every_preset_counts_in_its_own_way(name, names):
    addressing = get_addressing(name)
    assert addressing.names(questions=2, shown=4) == names
    assert [addressing.find(written, 2, 4) for written in names] == list(range(len(names)))


def test_one_original_image_has_no_number():
    assert get_addressing("mini_o3").names(questions=1, shown=3) == ["original_image", "observation_1", "observation_2"]


def test_one_image_need_not_be_named_and_several_must():
    assert get_addressing("qwen3_vl").find(None, 1, 5) == 0
    with pytest.raises(ArgumentError, match="img_idx is missing; the question's images are 0 to 1"):
        get_addressing("qwen3_vl").find(None, 2, 2)
    with pytest.raises(ArgumentError, match="image is missing; the images are image_1, image_2"):
        get_addressing("deepeyes_v2").find(None, 1, 2)


@pytest.mark.parametrize("written", [2, -1, True, "0", "image_1", 0.5, [0], {}, 10**400, float("nan")])
def test_an_image_that_is_not_there_is_refused(written):
    with pytest.raises(ArgumentError, match="no such image; the question's images are 0 to 1"):
        get_addressing("qwen3_vl").find(written, 2, 9)


def test_a_whole_number_is_one_however_json_writes_it():
    assert get_addressing("qwen3_vl").find(1.0, 2, 2) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "question"},
        {"argument": "img_idx"},
        {"scope": "episode", "argument": "image", "start": 2},
        {"scope": "episode", "argument": "image", "question": "image_{n}"},
        {"scope": "episode", "argument": "image", "question": "image", "returned": "crop"},
        {"scope": "episode", "argument": "image", "count": "apart"},
    ],
)
def test_a_row_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        Addressing("mine", **wrong)


@pytest.mark.parametrize("wrong", [{"scope": "all"}, {"count": "both"}, {"box_on": "crop"}])
def test_an_unknown_word_in_a_row_is_refused(wrong):
    with pytest.raises(UnknownNameError):
        Addressing("mine", **wrong)


def test_the_package_s_rows_cannot_be_replaced():
    with pytest.raises(UsageError):
        ADDRESSINGS.register("qwen3_vl", Addressing("qwen3_vl"))
    with pytest.raises(UnknownNameError, match="qwen3_vl"):
        get_addressing("qwen3vl")
