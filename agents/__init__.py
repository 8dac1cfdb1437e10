"""Policies that play episodes, and the runner that lets them.

Here are the agents that need no model: they prove that a reward separates, and stand in for a model in tests. Agents
with a model behind them implement the same ``Agent`` protocol.
"""

from deepeyes_env.agents.agent import Action, Agent, AgentError, AsyncAgent, Reply
from deepeyes_env.agents.families import FAMILIES, ModelFamily, register_family
from deepeyes_env.agents.play import Episode, Failure, play
from deepeyes_env.agents.play_async import env_maker, play_async
from deepeyes_env.agents.random_agent import RandomAgent
from deepeyes_env.agents.reader import ReaderAgent
from deepeyes_env.agents.registry import AGENTS, make_agent, register_agent
from deepeyes_env.agents.runner import Rollout, rollout
from deepeyes_env.agents.scripted import BlindAgent, NoisyAgent, OracleAgent, ScriptedAgent
from deepeyes_env.agents.zoom_reader import ZoomReaderAgent

__all__ = [
    "AGENTS",
    "FAMILIES",
    "Action",
    "Agent",
    "AgentError",
    "AsyncAgent",
    "BlindAgent",
    "Episode",
    "Failure",
    "ModelFamily",
    "NoisyAgent",
    "OracleAgent",
    "RandomAgent",
    "ReaderAgent",
    "Reply",
    "Rollout",
    "ScriptedAgent",
    "ZoomReaderAgent",
    "env_maker",
    "make_agent",
    "play",
    "play_async",
    "register_agent",
    "register_family",
    "rollout",
]
