"""Agents by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agents.agent import Agent
from agents.random_agent import RandomAgent
from agents.scripted import BlindAgent, NoisyAgent, OracleAgent
from deepeyes_env.names import did_you_mean

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
        raise KeyError(f"no agent named {name!r}; {did_you_mean(name, _AGENTS)}")
    return _AGENTS[name](**kwargs)
