"""Agents by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepeyes_env.agents.agent import Agent
from deepeyes_env.agents.random_agent import RandomAgent
from deepeyes_env.agents.reader import ReaderAgent
from deepeyes_env.agents.scripted import BlindAgent, NoisyAgent, OracleAgent
from deepeyes_env.agents.zoom_reader import ZoomReaderAgent
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import Registry

AGENTS: Registry[Callable[..., Agent]] = Registry("agent")
"""What makes each agent that has a name: a class, or a function with the keyword arguments of one."""

register_agent = AGENTS.register
"""Make an agent known by a name, ``register_agent("mine", MyAgent)``; see ``Registry.register``."""

for _agent in (BlindAgent, NoisyAgent, OracleAgent, RandomAgent, ReaderAgent, ZoomReaderAgent):
    register_agent(_agent.name, _agent)
AGENTS.protect()


def make_agent(name: str, **kwargs: Any) -> Agent:
    """Make an agent by name.

    Args:
        name: One of ``AGENTS``.
        **kwargs: Arguments of its class, such as ``seed``.

    Raises:
        UnknownNameError: No agent has that name; the message has the nearest one.
        UsageError: It is the name or the folder of a model.
    """
    if name not in AGENTS and (Path(name).is_dir() or "/" in name):
        raise UsageError(
            f"agent {name!r} looks like a model; `deepeyes eval --model {name}` plays one, and in Python "
            "deepeyes_env.agents.openai.OpenAIAgent or deepeyes_env.agents.transformers.TransformersAgent"
        )
    return AGENTS.get(name)(**kwargs)
