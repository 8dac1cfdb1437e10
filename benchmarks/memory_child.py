"""Run in a process of its own: resident memory of n rollouts of one 4K image. Prints bytes."""

from __future__ import annotations

import sys

import gymnasium as gym
import psutil

import deepeyes_env  # noqa: F401 - registers the environments
from benchmarks.sources import SIZES, jpeg, noisy_photo
from deepeyes_env import Sample, ToolCall


def main(rollouts: int, view: str) -> None:
    """Play two zooms in each rollout and keep every observation, as a trainer does."""
    sample = Sample("s", "What?", "a", jpeg(noisy_photo(SIZES["4K"])))
    kwargs = {"dataset": [sample], "view": None if view == "native" else "auto"}
    envs = [gym.make("VisualToolbox-v2", **kwargs) for _ in range(rollouts)]
    kept = []
    for n, env in enumerate(envs):
        kept.append(env.reset(seed=0)[0])
        zooms = (ToolCall("image_zoom_in_tool", {"bbox_2d": [n, k, 600 + n, 500]}) for k in range(2))
        kept.extend(env.step(zoom)[0] for zoom in zooms)
    print(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
