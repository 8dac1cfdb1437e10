"""What the tests of OpenAIAgent share: running episodes, and servers that do not make them wait."""

import gymnasium as gym
import pytest

import deepeyes_env  # noqa: F401 - registers the environments
from deepeyes_env.agents.openai import servers

ZOOM = '<think>Closer.</think><tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [10, 10, 200, 180]}}'


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(servers, "FIRST_PAUSE", 0.002)


@pytest.fixture
def begin(sample):
    """Begin an episode and take some steps; returns it as an agent sees it, running."""

    def begin(env="VisualToolbox-v2", *actions, question=sample, **kwargs):
        env = gym.make(env, dataset=[question], rubric=None, **kwargs).unwrapped
        env.reset(seed=0)
        for action in actions:
            env.step(action)
        return env.trajectory

    return begin
