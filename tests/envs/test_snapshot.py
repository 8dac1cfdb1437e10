"""Snapshots in other environments than the one that made them."""

import pickle
from dataclasses import replace

import gymnasium as gym
import pytest

from deepeyes_env.errors import UsageError
from tests.conftest import zoom_text


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
