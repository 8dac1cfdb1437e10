"""The OCR example reads scikit-image's page; prints what it reads as JSON."""

import json
import sys

import gymnasium as gym
from skimage import data

from deepeyes_env import Sample, ToolCall
from deepeyes_env.registry import load_plugins

load_plugins([sys.argv[1]])
page = data.page()
env = gym.make("Ocr-v0", dataset=[Sample("page", "What does it say?", "", [page])], view=None)
env.reset(seed=0)
height, width = page.shape
boxes = {"page": [0, 0, width, height], "lower half": [0, height // 2, width, height], "margin": [0, 0, 40, 10]}
read = {}
for name, box in boxes.items():
    *_, info = env.step(ToolCall("read_text", {"bbox_2d": box}))
    (result,) = info["calls"]
    assert result.ok, result.error
    read[name] = result.text
sys.stdout.write(json.dumps(read) + "\n")
