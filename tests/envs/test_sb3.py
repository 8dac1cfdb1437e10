"""An ordinary reinforcement-learning algorithm trains on the environment as it is."""

import warnings

import gymnasium as gym
import numpy as np
import pytest

from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.wrappers import FixedSizeObservation, FlatAction, StructuredAction

torch = pytest.importorskip("torch")
sb3 = pytest.importorskip("stable_baselines3")

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def make(variant="VisualToolbox-v2", size=36):
    env = gym.make(variant, dataset=VisualSearch(length=8))
    return FixedSizeObservation(FlatAction(StructuredAction(env)), size)


@pytest.mark.parametrize("variant", [f"VisualToolbox-v{n}" for n in range(1, 6)])
def test_check_env_of_stable_baselines3_without_a_warning(variant):
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is out of date")
        check_env(make(variant))


@pytest.mark.integration
def test_ppo_takes_a_few_hundred_steps_and_changes():
    model = sb3.PPO("CnnPolicy", make(), n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu")
    before = [parameter.detach().clone() for parameter in model.policy.parameters()]
    model.learn(256)
    assert model.num_timesteps == 256
    after = list(model.policy.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in after)
    assert any((old != new).any() for old, new in zip(before, after, strict=True))
    episodes = [episode["r"] for episode in model.ep_info_buffer]
    assert len(episodes) > 20
    assert 0 < np.mean(episodes) < 2  # some answers are right, not all
