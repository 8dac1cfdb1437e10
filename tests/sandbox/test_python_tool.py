"""The tool ``python`` in an environment."""

import contextlib
import json

import gymnasium as gym
import pytest

from deepeyes_env import Sample, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.tools import PythonTool
from tests.conftest import pattern


def call(code):
    text = json.dumps({"name": "python", "arguments": {"code": code}})
    return f"<think>Compute.</think>\n<tool_call>\n{text}\n</tool_call>"


@pytest.fixture
def env(sandbox):
    sample = Sample(id="s", question="What?", answer="red", images=(pattern(640, 480),), options=("red", "blue"))

    class Python(PythonTool):
        name = "python"

        def __init__(self):
            super().__init__(sandbox)

    with TOOLBOXES.restored():
        register_toolbox("WithPython-v0", tools=["image_zoom_in_tool", Python])
        with contextlib.closing(gym.make("WithPython-v0", dataset=[sample])) as made:
            yield made


def test_an_episode_has_a_session_of_its_own(env, sandbox):
    before = sandbox.pids()
    env.reset(seed=0)
    assert sandbox.pids() == before
    observation, *_ = env.step(call("x = image_1.crop((0, 0, 300, 200))\nx.show()\nx.size"))
    assert "Out[0]: (300, 200)" in str(observation)
    assert len(sandbox.pids() - before) == 1
    observation, *_ = env.step(call("print(x.size, image_2.size)"))
    assert "(300, 200) (300, 200)" in str(observation)
    env.reset(seed=0)
    assert sandbox.pids() == before
    observation, *_ = env.step(call("x"))
    assert "NameError" in str(observation)
