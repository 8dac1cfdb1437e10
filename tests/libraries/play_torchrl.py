"""TorchRL's GymWrapper plays the environment: rollouts as tensors, info and masks among them, and a collector."""

import json

import gymnasium as gym
import numpy as np
import torch
from torchrl.collectors import Collector
from torchrl.envs import ActionMask, GymWrapper, TransformedEnv
from torchrl.envs.utils import check_env_specs

from tests.libraries.task import task

torch.set_num_threads(1)


class ArrayInfo(gym.Wrapper):
    """TorchRL's reader takes arrays only."""

    def reset(self, **options):
        observation, info = self.env.reset(**options)
        return observation, {name: np.asarray(value) for name, value in info.items()}

    def step(self, action):
        *rest, info = self.env.step(action)
        return *rest, {name: np.asarray(value) for name, value in info.items()}


def make():
    env = GymWrapper(ArrayInfo(task(text=False)), categorical_action_encoding=True)
    return TransformedEnv(env.auto_register_info_dict(), ActionMask())


env = make()
check_env_specs(env)
env.set_seed(0)
rollouts = [env.rollout(5) for _ in range(6)]
masked = all(bool(each["action_mask"].gather(-1, each["action"][..., None]).all()) for each in rollouts)
collector = Collector(make, None, frames_per_batch=12, total_frames=24)
batches = list(collector)
collector.shutdown()
result = {
    "episodes": len(rollouts),
    "done": all(bool(each["next", "done"][-1]) for each in rollouts),
    "rewards": sorted(
        {round(float(reward), 3) for each in rollouts for reward in each["next", "reward"].sum((0, 1))[None]}
    ),
    "image": list(rollouts[0]["image"].shape[1:]),
    "question": list(rollouts[0]["question"].shape[1:]),
    "correct": [float(each["next", "correct"][-1]) for each in rollouts],
    "masked": masked,
    "frames": sum(batch.numel() for batch in batches),
}
print(json.dumps(result))
