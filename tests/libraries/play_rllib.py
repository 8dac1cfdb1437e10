"""RLlib's PPO trains a small network on the environment: the image alone, with numbers for actions."""

import json
import math

import gymnasium as gym
import numpy as np
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

from tests.libraries.task import task


def make(settings):
    env = gym.wrappers.FlattenObservation(task(question=False, text=False))
    numbers = gym.spaces.Box(0.0, 1.0, env.observation_space.shape, np.float32)
    return gym.wrappers.TransformObservation(env, lambda pixels: np.float32(pixels / 255), numbers)


register_env("looks", make)
ray.init(num_cpus=2, include_dashboard=False)
config = (
    PPOConfig()
    .environment("looks")
    .env_runners(num_env_runners=0)
    .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2)
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[32]))
    .debugging(seed=0)
)
algorithm = config.build_algo()
results = [algorithm.train() for _ in range(2)]
episodes = [result["env_runners"]["num_episodes"] for result in results]
learner = results[-1]["learners"]["default_policy"]
returns = [result["env_runners"]["episode_return_mean"] for result in results]
print(
    json.dumps(
        {
            "episodes": episodes,
            "returns": returns,
            "loss": learner["total_loss"],
            "finite": math.isfinite(learner["total_loss"]),
            "lengths": [result["env_runners"]["episode_len_mean"] for result in results],
        }
    )
)
algorithm.stop()
ray.shutdown()
