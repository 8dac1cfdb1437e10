"""Agents of one's own: what they must have, and what they may return."""

import pytest

from deepeyes_env.agents import make_agent, rollout
from deepeyes_env.errors import UsageError


def test_an_agent_needs_no_name_and_returns_bare_messages():
    class FirstOption:
        def act(self, episodes):
            return ["<answer>A</answer>" for _ in episodes]

    class SlowFirstOption(FirstOption):
        concurrency = 2

        async def reply(self, episode):
            return {"role": "assistant", "content": "<answer>A</answer>"}

    for agent in (FirstOption(), SlowFirstOption()):
        played = rollout("VisualToolbox-v2", agent, episodes=3, progress=False).trajectories
        assert [t.answer for t in played] == ["A"] * 3
        assert {t.metadata["agent"] for t in played} == {type(agent).__name__}


def test_an_agent_that_returns_what_no_environment_takes_is_told_what_to_return():
    class Silent:
        def act(self, episodes):
            return [None for _ in episodes]

    with pytest.raises(UsageError, match="agent 'Silent' returned NoneType .*return the message"):
        rollout("VisualToolbox-v2", Silent(), episodes=1, progress=False)


def test_a_models_name_in_place_of_an_agents_is_told_where_models_play():
    with pytest.raises(UsageError, match="deepeyes eval --model Qwen/Qwen2.5-VL-3B-Instruct"):
        make_agent("Qwen/Qwen2.5-VL-3B-Instruct")
