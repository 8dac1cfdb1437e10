"""Draw the README's picture: one episode on a photograph, as the environment renders it.

python examples/picture.py PHOTO.jpg docs/episode.png
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import gymnasium as gym
from PIL import Image

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env import ViewBudget
from deepeyes_env.agents import make_agent
from deepeyes_env.data.visual_search import VisualSearch


def main(photo: str, out: str) -> None:
    """Let the oracle play a question about two objects, and save the frame before it answers."""
    with tempfile.TemporaryDirectory() as folder:
        Image.open(photo).convert("RGB").save(Path(folder) / "photo.png")
        view = ViewBudget(min_pixels=224 * 224, max_pixels=448 * 448)
        task = VisualSearch(
            size=(1920, 1200), view=view, tasks=("position",), objects=(4, 6), easy=0.0, backgrounds=folder
        )
        env = gym.make("VisualToolbox-v2", dataset=task, render_mode="rgb_array")
        env.reset(options={"index": 2})
        oracle = make_agent("oracle")
        for _ in range(2):
            (reply,) = oracle.act([env.unwrapped.trajectory])
            env.step(reply.message)
        Image.fromarray(env.render()).quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
