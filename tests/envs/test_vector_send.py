"""send and recv: commands in the background."""

from __future__ import annotations

import threading

import pytest
from gymnasium.vector import AutoresetMode

from deepeyes_env import tool
from deepeyes_env.envs import Toolbox
from deepeyes_env.envs.vector import RayVectorEnv, Reset, Step, ThreadVectorEnv
from deepeyes_env.images import Image
from tests.conftest import zoom_text
from tests.envs.vector_helpers import ANSWER, VIEW, samples

KWARGS = {"dataset": samples(), "view": VIEW, "autoreset_mode": AutoresetMode.DISABLED}


def thread_env(num_envs=4, **changes):
    return ThreadVectorEnv(num_envs, group_size=2, **{**KWARGS, **changes})


def resets(num_envs=4):
    return {i: Reset(7 + i // 2, {"index": i // 2}) for i in range(num_envs)}


def play_in_background(env):
    env.send(resets())
    trajectories = {}
    begun = env.recv()
    assert sorted(begun) == [0, 1, 2, 3]
    env.send({0: Step(zoom_text([4, 4, 60, 70])), 1: Step(ANSWER)})
    env.send({2: Step(ANSWER), 3: Step(zoom_text([9, 4, 60, 70]))})
    outcomes = env.recv()
    env.send({0: Step(ANSWER), 3: Step(ANSWER)})
    outcomes = {**outcomes, **env.recv()}
    for i, outcome in outcomes.items():
        assert outcome.terminated
        trajectories[i] = outcome.info["trajectory"]
    return trajectories


def play_in_step(env):
    env.reset(seed=[7, 7, 8, 8], options={"index": [0, 0, 1, 1]})
    first = [zoom_text([4, 4, 60, 70]), ANSWER, ANSWER, zoom_text([9, 4, 60, 70])]
    _, _, _, _, infos = env.step(first)
    trajectories = {i: infos["trajectory"][i] for i in (1, 2)}
    _, _, _, _, infos = env.step([ANSWER, None, None, ANSWER])
    return {**trajectories, **{i: infos["trajectory"][i] for i in (0, 3)}}


def test_the_same_episodes_as_step_by_step():
    env = thread_env()
    try:
        assert play_in_background(env) == play_in_step(env)
    finally:
        env.close()


@pytest.mark.ray
def test_the_same_episodes_in_actors():
    local, spread = thread_env(), RayVectorEnv("VisualToolbox-v2", 4, group_size=2, num_actors=1, **KWARGS)
    try:
        assert play_in_background(spread) == play_in_background(local)
    finally:
        local.close()
        spread.close()


def test_recv_gives_what_is_done_when_its_time_is_up():
    released = threading.Event()

    @tool
    def wait_tool(image: Image) -> str:
        """Wait until the test says so."""
        released.wait(30)
        return "waited"

    env = thread_env(2, toolbox=Toolbox("waiting", tools=[wait_tool]))
    try:
        env.send({i: Reset(0, {"index": 0}) for i in range(2)})
        env.recv()
        env.send({0: Step('<tool_call>{"name": "wait_tool", "arguments": {}}</tool_call>')})
        assert env.recv(0.01) == {}
        assert env.outstanding == {0}
        with pytest.raises(ValueError, match=r"environments \[0\] are still busy"):
            env.send({0: Step(ANSWER)})
        with pytest.raises(ValueError, match=r"step: environments \[0\] are still busy"):
            env.step([ANSWER, ANSWER])
        released.set()
        assert "waited" in env.recv()[0].observation["text"]
        assert env.outstanding == frozenset()
    finally:
        released.set()
        env.close()


def test_a_failed_reset_is_an_outcome():
    env = thread_env(2)
    try:
        env.send({0: Reset(0, {"index": 0}), 1: Reset(0, {"index": 99})})
        outcomes = env.recv()
        assert outcomes[0].error == ""
        assert "IndexError" in outcomes[1].error
        assert outcomes[1].done
    finally:
        env.close()


def test_nothing_sent_is_nothing_received():
    env = thread_env(2)
    assert env.recv(0.0) == {}
    assert env.recv() == {}
    env.close()
