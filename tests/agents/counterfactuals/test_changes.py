"""Changed results: what the policy sees of them."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from deepeyes_env.agents.counterfactuals.changes import GREY, before, elsewhere, possible_changes
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.images.frames import iou
from deepeyes_env.images.regions import Region
from tests.conftest import zoom_text

NAMED = "VisualToolboxNamed-v0"


def look(image, box):
    arguments = {"bbox_2d": box, "image": f"image_{image + 1}"}
    call = json.dumps({"name": "image_zoom_in_tool", "arguments": arguments})
    return f"<think>Look closer.</think>\n<tool_call>\n{call}\n</tool_call>"


def played(sample, *messages, env="VisualToolbox-v2"):
    env = gym.make(env, dataset=[sample])
    env.reset(seed=3)
    for message in messages:
        *_, info = env.step(message)
    return info.get("trajectory") or env.unwrapped.trajectory


@pytest.fixture
def episode(sample):
    return played(sample, zoom_text([0, 0, 100, 100]), zoom_text([20, 20, 90, 110]), "<answer>red</answer>")


@pytest.mark.parametrize("change", ["blank", "swapped", "moved"])
def test_a_changed_image_has_the_size_and_form_of_the_real_one(episode, change):
    other = episode.results[0]
    state = before(episode, 1, change, other, seed=0)
    real, changed = episode.results[1], state.results[1]
    assert len(state.turns) == 2
    assert state.turns[0] == episode.turns[0]
    assert [each.size for each in changed.images] == [each.size for each in real.images]
    assert all(isinstance(each.source, np.ndarray) and not each.source.flags.writeable for each in changed.images)
    assert changed.images != real.images
    assert state.turns[1].observation.images == changed.images
    assert state.turns[1].observation.text == episode.turns[1].observation.text
    assert changed.call == real.call
    if change == "blank":
        assert set(np.unique(changed.images[0].pixels())) == {GREY}


def test_a_call_that_was_left_as_it_was_is_what_was_recorded(episode):
    assert before(episode, 1, "as_was", None, seed=0).turns == episode.turns[:2]
    assert before(episode, 1, "dropped", None, seed=0).turns == episode.turns[:1]


def test_a_region_moves_to_where_nothing_of_it_is(episode):
    box = episode.results[1].box
    moved = elsewhere(Region(0, box), episode, seed=1)
    assert (moved[2] - moved[0], moved[3] - moved[1]) == (box[2] - box[0], box[3] - box[1])
    assert iou(moved, box) < 0.2
    assert elsewhere(Region(0, box), episode, seed=1) == moved


def test_what_cannot_be_changed_is_not(sample):
    failed = played(sample, zoom_text([5, 5, 1, 1]), "<answer>red</answer>")
    assert possible_changes(failed, 0) == ("as_was", "dropped")
    unanswered = played(sample, zoom_text([0, 0, 100, 100]))
    assert possible_changes(unanswered, 0) == ()
    whole = played(sample, zoom_text([0, 0, *sample.images[0].size]), "<answer>red</answer>")
    assert "moved" not in possible_changes(whole, 0)


def test_one_of_several_calls_of_a_message_is_dropped(sample):
    calls = zoom_text([0, 0, 100, 100]).split("</think>")[-1] + zoom_text([20, 20, 90, 110]).split("</think>")[-1]
    episode = played(sample, calls, "red", env="VisualToolboxNative-v0")
    assert len(episode.results) == 2
    state = before(episode, 0, "dropped", None, seed=0)
    (turn,) = state.turns
    assert turn.results == episode.results[1:]
    assert turn.observation.images == episode.results[1].images
    assert turn.action.count("<tool_call>") == 1
    assert replace(turn, action="", observation=None) == replace(
        episode.turns[0], action="", observation=None, results=episode.results[1:]
    )


def test_a_zoom_into_a_blanked_crop_shows_no_real_pixels(sample):
    episode = played(sample, look(0, [0, 0, 100, 100]), look(1, [20, 20, 90, 90]), "<answer>red</answer>", env=NAMED)
    state = before(episode, 0, "blank", None, seed=0)
    env = gym.make(NAMED, dataset=[sample])
    env.reset(options={"snapshot": Snapshot.of_record(state)})
    _observation, *_ = env.step(look(1, [20, 20, 90, 90]))
    real, shown = episode.results[1].images[0], env.unwrapped.trajectory.results[1].images[0]
    assert shown.size == real.size
    assert set(np.unique(shown.pixels())) == {GREY}
