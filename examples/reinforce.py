"""REINFORCE in plain PyTorch on ``gym.make``: a small network learns to zoom in and then to read.

The network sees the image that was shown last and chooses one of 16 boxes to look at, or one of four patterns to answer
with; what it chose is written out as a message, and the environment takes it from there. No wrapper and no trainer.

    python examples/reinforce.py [--batches N] [--seed N]

Within 150 batches of 64 episodes it answers three of four right instead of one of four.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env import ViewBudget
from deepeyes_env.data.visual_search import VisualSearch

SIDE, BOX, GRID = 56, 20, 4
PATTERNS = ("horizontal stripes", "vertical stripes", "diagonal stripes", "checks")
BOXES = [(x, y, x + BOX, y + BOX) for y in range(0, 37, 12) for x in range(0, 37, 12)]


def make_env(split: str) -> gym.Env[Any, Any]:
    """One object, whose pattern cannot be seen without a zoom; a look and an answer."""
    view = ViewBudget(min_pixels=SIDE * SIDE, max_pixels=SIDE * SIDE)
    task = VisualSearch(split=split, size=(224, 224), view=view, tasks=("attribute",), objects=(1, 1), easy=0.0)
    return gym.make("VisualToolbox-v2", dataset=task, max_turns=2)


class Policy(nn.Module):
    """Scores of the 16 boxes and the four patterns."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()),
        )
        self.place, self.pattern = nn.Conv2d(32, 1, 1), nn.Linear(32, len(PATTERNS) + 1)
        nn.init.constant_(self.pattern.bias[-1:], 2.0)  # to begin with, look in two of three episodes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``(B, 20)``; the last score of ``pattern`` is that of looking at all."""
        seen = self.see(images)
        places = nn.functional.adaptive_max_pool2d(self.place(seen), GRID).flatten(1)
        pattern = self.pattern(seen.amax((2, 3)))
        return torch.cat([places.log_softmax(1) + pattern[:, -1:], pattern[:, :-1]], 1)


def message(action: int, options: tuple[str, ...]) -> str:
    """Write what was chosen as the protocol wants it."""
    if action >= len(BOXES):
        return f"<answer>{'ABCD'[options.index(PATTERNS[action - len(BOXES)])]}</answer>"
    call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": BOXES[action]}}
    return f"<think>Closer.</think><tool_call>{json.dumps(call)}</tool_call>"


def play(envs: list[gym.Env[Any, Any]], policy: Policy, seed: int) -> tuple[list[Any], np.ndarray, list[bool]]:
    """Play an episode in each environment; returns log-probabilities of each turn, rewards, and who was right."""
    begun = [env.reset(seed=seed + i) for i, env in enumerate(envs)]
    options = [info["trajectory"].sample.options for _, info in begun]
    shown, alive = [observation["images"][0] for observation, _ in begun], list(range(len(envs)))
    turns, rewards, right = [], np.zeros(len(envs), np.float32), [False] * len(envs)
    while alive:
        images = torch.from_numpy(np.stack([shown[i] for i in alive])).permute(0, 3, 1, 2) / 127.5 - 1
        scores = policy(images)
        if turns:  # the last turn: a second look could only end the episode without an answer
            scores[:, : len(BOXES)] = -1e9
        choice = Categorical(logits=scores)
        actions = choice.sample()
        turns.append((list(alive), choice.log_prob(actions), choice.entropy()))
        for i, action in zip(list(alive), actions.tolist(), strict=True):
            observation, rewards[i], terminated, truncated, info = envs[i].step(message(action, options[i]))
            if terminated or truncated:
                alive.remove(i)
                right[i] = info["reward_terms"]["acc"].raw > 0
            else:
                shown[i] = observation["images"][0]
    return turns, rewards, right


def main(arguments: list[str] | None = None) -> None:
    """Train; print how often questions are answered right. There are 10,000 of them, so hardly one comes twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=200, help="batches of 64 episodes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    torch.manual_seed(args.seed)
    policy, envs = Policy(), [make_env("train") for _ in range(64)]
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for batch in range(args.batches):
        turns, rewards, right = play(envs, policy, seed=(args.seed * 10_000 + batch) * 64)
        advantages = torch.from_numpy((rewards - rewards.mean()) / (rewards.std() + 1e-6))
        loss = sum(-(logp * advantages[who]).mean() - 0.02 * entropy.mean() for who, logp, entropy in turns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 10 == 0:
            print(f"batch {batch}: reward {rewards.mean():.2f}, right {np.mean(right):.2f}", [len(t[0]) for t in turns])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
