"""stable-baselines3's PPO and sb3-contrib's MaskablePPO, unchanged: they learn to look before they answer.

The wrappers turn an episode into numbers: an image of 36 x 36 pixels and the question as word numbers come in; one of
nine places to look at, or one of up to six options, goes out. A look earns 1.2 and a right answer 0.8. MaskablePPO
never chooses an answer that is not among the question's options.

    python examples/ppo_sb3.py [--algorithm MaskablePPO] [--steps N]     (needs stable-baselines3 and sb3-contrib)
"""

from __future__ import annotations

import argparse
import json
from statistics import mean
from typing import Any

import gymnasium as gym
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.wrappers import (
    DiscreteAction,
    FixedSizeObservation,
    PlainInfo,
    QuestionNumbers,
    StructuredAction,
)


def make_env() -> gym.Env[Any, Any]:
    """Eight questions; at most a look and an answer."""
    env = gym.make("VisualToolbox-v2", dataset=VisualSearch(length=8), rubric="unconditional_tool", max_turns=2)
    numbers = QuestionNumbers(FixedSizeObservation(PlainInfo(env), 36), length=20, vocabulary=64)
    return DiscreteAction(StructuredAction(numbers, max_options=6))


def main(arguments: list[str] | None = None) -> None:
    """Train; print the mean reward of the first and the last 150 episodes, and how many ended in another way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=["PPO", "MaskablePPO"], default="PPO")
    parser.add_argument("--steps", type=int, default=1280, help="environment steps to train for")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    algorithm: type[Any] = PPO
    if args.algorithm == "MaskablePPO":
        from sb3_contrib import MaskablePPO

        algorithm = MaskablePPO
    env = Monitor(make_env(), info_keywords=("stop_reason",))
    model = algorithm(
        "MultiInputPolicy",
        env,
        n_steps=64,
        n_epochs=4,
        learning_rate=1e-3,
        gamma=0.9,  # episodes have at most two steps
        seed=args.seed,
        device="cpu",
    )
    model.learn(args.steps)
    rewards = env.get_episode_rewards()
    odd = sum(episode["stop_reason"] not in ("answer", "max_turns") for episode in model.ep_info_buffer)
    print(json.dumps({"first": mean(rewards[:150]), "last": mean(rewards[-150:]), "foreign": odd}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
