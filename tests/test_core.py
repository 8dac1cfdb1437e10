"""Samples check themselves; trajectories grow by copying."""

import numpy as np
import pytest

from deepeyes_env import ImageRef, Sample, Turn
from deepeyes_env.core import Message, RewardTerm, Trajectory
from deepeyes_env.option_letters import letter_options, option_index, option_letter

PIXELS = np.zeros((40, 60, 3), np.uint8)


def make(**changes):
    fields = {"id": "a", "question": "q", "answer": "yes", "images": PIXELS} | changes
    return Sample(**fields)


def test_a_single_image_becomes_a_tuple_of_refs():
    sample = make()
    assert [type(ref) for ref in sample.images] == [ImageRef]
    assert sample.images[0].size == (60, 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ()}, "'a': has no images"),
        ({"question": "<image><image>"}, "2 <image> placeholders for 1 images"),
        ({"options": ("no", "maybe")}, "'yes' is not one of the options"),
        ({"boxes": ((1, 2, 3),)}, "not four numbers"),
        ({"boxes": ((5, 2, 3, 9),)}, "x1 < x2"),
    ],
)
def test_user_errors_name_sample_value_and_remedy(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_wrong_image_type():
    with pytest.raises(TypeError, match="cannot read an image from dict"):
        make(images=[{}])


def test_trajectory_is_extended_by_copy_and_scored():
    start = Trajectory(make(), Message("<image>q", (ImageRef.of(PIXELS),)))
    longer = start.extended(Turn("<answer>yes</answer>", answer="yes"))
    assert (start.turns, start.answer, longer.answer) == ((), None, "yes")
    scored = longer.scored({"acc": RewardTerm(1.0, 0.8), "format": RewardTerm(-1.0, 0.2)})
    assert scored.reward == pytest.approx(0.6)
    assert longer.reward == 0


def test_options_have_letters_that_lead_back_to_them():
    letters = [letter for letter, _ in letter_options(["x"] * 702)]
    assert letters[:3] + letters[25:29] + letters[-1:] == ["A", "B", "C", "Z", "AA", "AB", "AC", "ZZ"]
    assert [option_index(letter) for letter in letters] == list(range(702))
    assert option_index("ab") == 27
    assert [option_index(text) for text in ("", "1", "ABC", "é", "a1")] == [None] * 5
    with pytest.raises(ValueError, match="702"):
        option_letter(702)
