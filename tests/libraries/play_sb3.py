"""stable-baselines3's PPO and sb3-contrib's MaskablePPO learn to look before they answer."""

import json
import sys
from statistics import mean

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

from tests.libraries.task import task

torch.set_num_threads(1)
env = Monitor(task(), info_keywords=("stop_reason",))
kind = {"PPO": PPO, "MaskablePPO": MaskablePPO}[sys.argv[1]]
model = kind("MultiInputPolicy", env, n_steps=128, batch_size=64, learning_rate=5e-4, gamma=0.9, seed=0, device="cpu")
model.learn(2560)
rewards = env.get_episode_rewards()
foreign = sum(episode["stop_reason"] not in ("answer", "max_turns") for episode in model.ep_info_buffer)
print(json.dumps({"first": mean(rewards[:150]), "last": mean(rewards[-150:]), "foreign": foreign}))
