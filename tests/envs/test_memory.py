"""What a process needs that plays on and on."""

import subprocess
import sys
from pathlib import Path

import pytest

EPISODES, MOST = 1_000, 400

PLAY = """
import sys
import gymnasium as gym
import deepeyes_env
from deepeyes_env import ToolCall

env = gym.make("VisualToolbox-v2")
for seed in range(int(sys.argv[1])):
    env.reset(seed=seed)
    env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": [20, 20, 120, 120]}))
    *_, terminated, _, _ = env.step("<answer>A</answer>")
    assert terminated
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_a_thousand_episodes_of_the_built_in_task_stay_small():
    ran = subprocess.run([sys.executable, "-c", PLAY, str(EPISODES)], capture_output=True, text=True, check=True)
    peak = int(ran.stdout) / 1024
    assert peak < MOST
