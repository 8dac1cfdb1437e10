"""Tianshou collects episodes of a DQN, info and all, and trains on them."""

import json

import gymnasium as gym
import numpy as np
import torch
from tianshou.algorithm import DQN
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.torch_utils import policy_within_training_step

from tests.libraries.task import task

torch.set_num_threads(1)
torch.manual_seed(0)
np.random.seed(0)  # it explores with NumPy's global generator


def make():
    return gym.wrappers.FlattenObservation(task(question=False))


envs = DummyVectorEnv([make, make])
space = make().action_space
net = Net(state_shape=(36 * 36 * 3,), action_shape=(int(space.n),), hidden_sizes=[32])
policy = DiscreteQLearningPolicy(model=net, action_space=space, eps_training=0.5)
algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3))
buffer = VectorReplayBuffer(200, 2)
collector = Collector(algorithm, envs, buffer, exploration_noise=True)
with policy_within_training_step(policy):
    stats = collector.collect(n_episode=20, reset_before_collect=True)
    update = algorithm.update(buffer, sample_size=8)
everything, _ = buffer.sample(0)
result = {
    "episodes": int(stats.n_collected_episodes),
    "steps": len(buffer),
    "stops": sorted(set(everything.info.stop_reason.tolist())),
    "looks": float(everything.info.calls.mean()),
    "loss": float(update.loss),
}
print(json.dumps(result))
