"""Many environments with tools of a server: in threads, and in actors, where only the way to the server travels."""

from __future__ import annotations

import pytest

from deepeyes_env import mcp_tools, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.envs.vector import RayVectorEnv, ThreadVectorEnv
from tests.mcp.conftest import sample
from tests.mcp.test_plain_server import PLAIN, SITE

CALL = '<tool_call>{"name": "count", "arguments": {"number": %d}}</tool_call>'


@pytest.fixture(scope="module")
def id():
    with TOOLBOXES.restored():
        register_toolbox("McpMany-v0", tools=["image_zoom_in_tool", mcp_tools([*PLAIN, "count"], env=SITE)])
        yield "McpMany-v0"


def check(envs):
    """Every episode has a session of its own, also the next one of the same environment."""
    for seed in range(2):
        envs.reset(seed=seed)
        for turn, text in enumerate(("1 calls, {0} in sum", "2 calls, {1} in sum")):
            *_, infos = envs.step([CALL % (10 * i + turn) for i in range(envs.num_envs)])
            told = [calls[0].text for calls in infos["calls"]]
            assert told == [text.format(10 * i, 20 * i + 1) for i in range(envs.num_envs)]


def test_in_threads(id):
    envs = ThreadVectorEnv(4, toolbox=id, dataset=[sample()], view=None)
    check(envs)
    envs.close()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_in_actors(id):
    envs = RayVectorEnv(id, 2, dataset=[sample()], view=None, num_actors=1, actor_options={"num_cpus": 0})
    check(envs)
    envs.close()
