"""Environments with tools of a server, and a server at 127.0.0.1."""

from __future__ import annotations

import contextlib
import threading
import time

import gymnasium as gym
import numpy as np
import pytest
import uvicorn

from deepeyes_env import ImageRef, Sample, ToolCall, mcp_tools, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES


@pytest.fixture
def play():
    """Register a toolbox of a server's tools, and return an environment that is reset."""
    made = []  # environments

    def play(server, **options):
        id = f"McpTest{len(made)}-v0"
        register_toolbox(id, tools=mcp_tools(server, **{"timeout": 20.0, **options}))
        made.append(env := gym.make(id, dataset=[sample()], view=None, max_turns=20))
        env.reset(seed=0)
        return env

    with TOOLBOXES.restored():
        yield play
    for env in made:
        env.close()
        gym.registry.pop(env.spec.id)


def sample():
    pixels = np.arange(60 * 40 * 3, dtype=np.uint8).reshape(40, 60, 3)
    return Sample("one", "what?", "that", images=(ImageRef(pixels),))


@pytest.fixture
def call():
    """Call a tool; returns its result, and whether the episode is over."""

    def call(env, name, **arguments):
        _, _, _, truncated, info = env.step(ToolCall(name, arguments))
        return info["calls"][0], truncated

    return call


@pytest.fixture
def serve():
    """Serve an application on a free port of 127.0.0.1; returns its address, and how to stop it."""
    with contextlib.ExitStack() as stack:

        def serve(app, port=0):
            config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.01)

            def stop():
                server.should_exit = True
                thread.join()

            stack.callback(stop)
            return server.servers[0].sockets[0].getsockname()[1], stop

        yield serve
