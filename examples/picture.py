"""Draw the README's pictures: an episode on a photograph, or one across two, as the environment renders it.

python examples/picture.py docs/episode.png PHOTO.jpg
python examples/picture.py docs/two_images.png PHOTO.jpg OTHER.jpg
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
from deepeyes_env.data.visual_search import ImageSearch, VisualSearch

VIEW = ViewBudget(min_pixels=224 * 224, max_pixels=448 * 448)


def on_one(folder: str) -> gym.Env:
    """Begin a question about two objects in a photograph."""
    task = VisualSearch(size=(1920, 1200), view=VIEW, tasks=("position",), objects=(4, 6), easy=0.0, backgrounds=folder)
    env = gym.make("VisualToolbox-v2", dataset=task, render_mode="rgb_array")
    env.reset(options={"index": 2})
    return env


def across_two(folder: str) -> gym.Env:
    """Begin a question whether an object shows the same in two photographs."""
    task = ImageSearch(
        size=(1920, 1200), view=VIEW, tasks=("text",), images=(2, 2), compare=1.0, easy=0.0, backgrounds=folder
    )
    env = gym.make("VisualToolboxNamed-v0", dataset=task, render_mode="rgb_array")
    for index in range(100):
        env.reset(options={"index": index})
        images = env.unwrapped.trajectory.sample.images
        if len({image.source.background.name for image in images}) == 2:
            break
    return env


def main(out: str, *photos: str) -> None:
    """Let the oracle play, and save the frame before it answers."""
    with tempfile.TemporaryDirectory() as folder:
        for number, photo in enumerate(photos):
            Image.open(photo).convert("RGB").save(Path(folder) / f"photo{number or ''}.png")
        env = on_one(folder) if len(photos) == 1 else across_two(folder)
        oracle = make_agent("oracle")
        for _ in range(2):
            (reply,) = oracle.act([env.unwrapped.trajectory])
            env.step(reply.message)
        Image.fromarray(env.render()).quantize(256).save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
