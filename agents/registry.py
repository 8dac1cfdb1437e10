"""Agents by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from agents.agent import Agent
from agents.random_agent import RandomAgent
from agents.scripted import BlindAgent, NoisyAgent, OracleAgent

_AGENTS: dict[str, Callable[..., Agent]] = {
    agent.name: agent for agent in (BlindAgent, NoisyAgent, OracleAgent, RandomAgent)
}


def agent_names() -> tuple[str, ...]:
    """Return the names that :func:`make_agent` knows."""
    return tuple(sorted(_AGENTS))


def make_agent(name: str, **kwargs: Any) -> Agent:
    """Make an agent by name.

    Args:
        name: One of :func:`agent_names`.
        **kwargs: Arguments of its class, such as ``seed``.

    Raises:
        KeyError: No agent has that name; the message names the nearest ones.
    """
    if name not in _AGENTS:
        near = difflib.get_close_matches(name, _AGENTS, n=3) or agent_names()
        raise KeyError(f"no agent named {name!r}; known: {', '.join(near)}")
    return _AGENTS[name](**kwargs)
