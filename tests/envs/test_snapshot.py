"""Snapshots in other environments than the one that made them."""

import copy
import json
import pickle
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.errors import UsageError
from tests.conftest import zoom_text

LOOK = "image_zoom_in_tool"


def make(*samples):
    return gym.make("VisualToolbox-v2", dataset=list(samples))


def test_a_new_environment_goes_on_from_a_snapshot_and_refuses_one_of_other_data(sample):
    env = make(sample)
    env.reset(seed=5)
    env.step(zoom_text([0, 0, 100, 100]))
    state = pickle.loads(pickle.dumps(env.unwrapped.snapshot()))
    fresh = make(sample)
    fresh.unwrapped.restore(state)
    assert fresh.step("<answer>red</answer>")[2]
    with pytest.raises(gym.error.ResetNeeded):
        make(sample).step("<answer>red</answer>")
    for other in ([replace(sample, question="Which shape is it?")], [replace(sample, id="other")]):
        with pytest.raises(UsageError, match="data set that the snapshot was made with"):
            make(*other).unwrapped.restore(state)


BOX = {"bbox_2d": [0, 0, 100, 100], "bbox": [0, 0, 100, 100]}
TOLD_APART = {
    "ids": {"content": "", "tool_calls": [{"id": "call_7", "function": {"name": LOOK, "arguments": BOX}}]},
    "an answer beside": {
        "content": "<answer>red</answer>",
        "tool_calls": [{"id": "c", "function": {"name": LOOK, "arguments": BOX}}],
    },
    "a call in the thought": {
        "reasoning_content": "Perhaps <tool_call>{}</tool_call>?",
        "tool_calls": [{"id": "c", "function": {"name": LOOK, "arguments": json.dumps(BOX)}}],
    },
    "no JSON": {"tool_calls": [{"id": "c", "function": {"name": LOOK, "arguments": '{"bbox_2d": ['}}]},
    "no name": {"tool_calls": [{"id": "c"}]},
    "many": {"tool_calls": [{"id": str(n), "function": {"name": LOOK, "arguments": BOX}} for n in range(5)]},
}


@pytest.mark.parametrize("message", TOLD_APART.values(), ids=TOLD_APART)
@pytest.mark.parametrize(
    "variant", ["VisualToolbox-v2", "VisualToolbox-v3", "VisualToolbox-v5", "VisualToolboxNative-v0"]
)
def test_messages_with_calls_beside_their_text_are_replayed_as_they_were_read(sample, variant, message):
    env = gym.make(variant, dataset=[sample]).unwrapped
    env.reset(seed=5)
    env.step(message)
    other = gym.make(variant, dataset=[sample]).unwrapped
    observation = other.restore(pickle.loads(pickle.dumps(env.snapshot())))
    assert other.trajectory.turns == env.trajectory.turns
    assert observation["text"] == env.trajectory.turns[-1].observation.text


def test_an_episode_that_was_truncated_from_outside_has_ended_when_it_is_restored(sample):
    env = make(sample).unwrapped
    env.reset(seed=5)
    env.step(zoom_text([0, 0, 100, 100]))
    env.truncate("token_budget")
    other = make(sample).unwrapped
    other.restore(pickle.loads(pickle.dumps(env.snapshot())))
    assert (other.trajectory.truncated, other.trajectory.stop_reason) == (True, "token_budget")
    with pytest.raises(gym.error.ResetNeeded):
        other.step("<answer>red</answer>")


def test_a_message_that_is_changed_later_changes_neither_episode_nor_snapshot(sample):
    env = make(sample).unwrapped
    env.reset(seed=5)
    message = copy.deepcopy(TOLD_APART["ids"])
    env.step(message)
    state, before = env.snapshot(), repr(env.trajectory)
    message["tool_calls"][0]["function"]["arguments"]["bbox_2d"][0] = 50
    message["tool_calls"].append({})
    assert (repr(env.trajectory), repr(state.trajectory)) == (before, before)
    assert state.read[0].calls[0].arguments["bbox_2d"] == [0, 0, 100, 100]


def going_on(sample, text="Nothing is to be seen there."):
    """An episode after one zoom, whose result somebody has changed."""
    env = make(sample)
    env.reset(seed=5)
    env.step(zoom_text([0, 0, 100, 100]))
    played = env.unwrapped.trajectory
    observation = replace(played.turns[0].observation, text=text, images=())
    return replace(played, turns=(replace(played.turns[0], observation=observation),))


@pytest.mark.parametrize("trip", [lambda state: state, lambda state: pickle.loads(pickle.dumps(state))])
def test_a_recorded_episode_goes_on_from_its_turns_also_where_they_were_changed(sample, trip):
    recorded = going_on(sample)
    env = make(sample)
    observation, info = env.reset(seed=9, options={"snapshot": trip(Snapshot.of_record(recorded))})
    assert observation == {"text": "Nothing is to be seen there.", "images": ()}
    assert info["trajectory"].turns == recorded.turns
    *_, info = env.step("<answer>red</answer>")
    assert info["trajectory"].turns[:1] == recorded.turns
    assert info["trajectory"].sample.options == recorded.sample.options
    assert info["trajectory"].image_count == 1


def test_an_episode_that_has_ended_goes_on_as_if_it_had_not(sample):
    env = make(sample)
    env.reset(seed=5)
    env.step(zoom_text([0, 0, 100, 100]))
    env.step("<answer>red</answer>")
    ended = env.unwrapped.trajectory
    with pytest.raises(UsageError, match="has ended"):
        env.reset(options={"snapshot": env.unwrapped.snapshot()})
    _, info = env.reset(options={"snapshot": Snapshot.of_record(replace(ended, turns=ended.turns[:1]))})
    assert not info["trajectory"].done
    assert info["trajectory"].reward_terms == {}


def test_a_vector_environment_begins_at_snapshots_too(sample):
    recorded = going_on(sample)
    envs = gym.make_vec("VisualToolbox-v2", num_envs=2, dataset=[sample], autoreset_mode=AutoresetMode.DISABLED)
    _, infos = envs.reset(seed=[1, 2], options={"snapshot": [None, Snapshot.of_record(recorded)], "index": [0, None]})
    assert [len(each.turns) for each in infos["trajectory"]] == [0, 1]
    *_, infos = envs.step(["<answer>red</answer>"] * 2)
    assert [len(each.turns) for each in infos["trajectory"]] == [1, 2]
    envs.reset(seed=[1, 2], options={"snapshot": Snapshot.of_record(recorded)})
    with pytest.raises(UsageError, match="both index and snapshot"):
        envs.reset(options={"snapshot": Snapshot.of_record(recorded), "index": 0})
    envs.close()


def test_an_environment_of_other_settings_refuses_a_recorded_episode(sample):
    env = gym.make("VisualToolbox-v2", dataset=[sample], view=None)
    recorded = going_on(replace(sample, images=(np.zeros((500, 700, 3), np.uint8),)))
    with pytest.raises(UsageError, match="settings of its run"):
        env.reset(options={"snapshot": Snapshot.of_record(recorded)})
    with pytest.raises(TypeError, match="must be a Snapshot"):
        env.reset(options={"snapshot": recorded})
