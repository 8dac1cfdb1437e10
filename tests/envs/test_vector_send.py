"""send and recv: commands in the background."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

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


def test_commands_come_back_one_by_one_in_the_order_sent():
    env = thread_env()
    try:
        env.send(resets())
        env.recv()
        env.send({2: Step(ANSWER), 0: Step(zoom_text([4, 4, 60, 70]))})
        env.send({1: Step(ANSWER)})
        env.send({3: Step(ANSWER)})
        assert [sorted(env.recv(oldest=True)) for _ in range(3)] == [[0, 2], [1], [3]]
        assert not env.outstanding
        assert env.recv(oldest=True) == {}
    finally:
        env.close()


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_the_same_episodes_in_actors():
    local, spread = thread_env(), RayVectorEnv("VisualToolbox-v2", 4, group_size=2, num_actors=1, **KWARGS)
    try:
        assert play_in_background(spread) == play_in_background(local)
    finally:
        local.close()
        spread.close()


def waiting_toolbox(gate):
    """A toolbox with a tool that waits until a file exists."""

    @tool
    def wait_tool(image: Image) -> str:
        """Wait until the test says so."""
        while not Path(gate).exists():
            time.sleep(0.01)
        return "waited"

    return Toolbox("waiting", tools=[wait_tool])


WAIT = '<tool_call>{"name": "wait_tool", "arguments": {}}</tool_call>'


def until_there(env, wanted):
    outcomes = {}
    while not wanted <= outcomes.keys():
        outcomes |= env.recv(0.05)
    return outcomes


def check_that_a_slow_tool_delays_its_own_environment_only(env, gate):
    try:
        env.send(resets())
        env.recv()
        env.send({0: Step(WAIT), 1: Step("<think>.</think>" + WAIT), 2: Step(ANSWER)})
        assert 2 in until_there(env, {2})
        env.send({2: Reset(3, {"index": 2}), 3: Step(ANSWER)})
        outcomes = until_there(env, {2, 3})
        assert outcomes[3].terminated
        env.send({2: Step(ANSWER)})
        assert until_there(env, {2})[2].terminated
        assert env.outstanding == {0, 1}
        with pytest.raises(ValueError, match=r"environments \[0\] are still busy"):
            env.send({0: Step(ANSWER)})
        with pytest.raises(ValueError, match=r"step: environments \[0, 1\] are still busy"):
            env.step([ANSWER] * 4)
        gate.touch()
        outcomes = env.recv()
        assert all("waited" in outcomes[i].observation["text"] for i in (0, 1))
        assert env.outstanding == frozenset()
    finally:
        gate.touch()
        env.close()


def test_a_slow_tool_delays_its_own_environment_only(tmp_path):
    gate = tmp_path / "gate"
    check_that_a_slow_tool_delays_its_own_environment_only(thread_env(toolbox=waiting_toolbox(gate)), gate)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_slow_tool_in_an_actor_delays_its_own_environment_only(tmp_path):
    gate = tmp_path / "gate"
    env = RayVectorEnv(waiting_toolbox(gate), 4, group_size=2, num_actors=1, **KWARGS)
    check_that_a_slow_tool_delays_its_own_environment_only(env, gate)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_an_actor_that_dies_while_a_tool_is_slow_is_replaced(tmp_path):
    gate = tmp_path / "gate"
    env = RayVectorEnv(waiting_toolbox(gate), 4, group_size=2, num_actors=1, **KWARGS)
    try:
        env.send(resets())
        env.recv()
        env.send({0: Step(WAIT), 1: Step(ANSWER)})
        until_there(env, {1})
        os.kill(env.actor_pids()[0], signal.SIGKILL)
        gate.touch()
        assert "waited" in env.recv()[0].observation["text"]
        env.send({0: Step(ANSWER), 2: Step(ANSWER)})
        outcomes = env.recv()
        assert outcomes[0].terminated
        assert outcomes[2].terminated
        assert len(outcomes[0].info["trajectory"].turns) == 2
    finally:
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
