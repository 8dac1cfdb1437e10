"""Agent: whatever can say the next message of many conversations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

from deepeyes_env.core import FinishReason, PolicyTokens, ToolCall, Trajectory, Turn
from deepeyes_env.errors import DeepEyesError, UsageError

Action: TypeAlias = str | ToolCall | Mapping[str, Any]
"""What an environment's ``step`` takes: a message, a tool call, or an OpenAI-style assistant message."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an agent says next.

    Attributes:
        message: The next assistant message of a conversation.
        tokens: The tokens that it was written with, where the agent's backend has them.
        finish_reason: Why the message ended, where the agent's backend says so.
    """

    message: Action
    tokens: PolicyTokens | None = None
    finish_reason: FinishReason = ""

    def recorded(self, turn: Turn) -> Turn:
        """Return the turn that the message became, with what only the agent knows of it."""
        return replace(turn, tokens=self.tokens, finish_reason=self.finish_reason)


class AgentError(DeepEyesError, RuntimeError):
    """An agent could not go on with a conversation: its server stays unreachable, say. The message names the remedy.

    It costs the episode, not the run: whoever runs the episodes lists it among the failures, to be played again.
    """


Said: TypeAlias = Reply | Action | AgentError
"""What an agent returns for one episode: the bare message where it has no tokens, or an error that gives it up."""


@runtime_checkable
class Agent(Protocol):
    """A policy: given conversations, it says the next message of each.

    It may have a ``name``, for records and reports; without one it goes by that of its class (``name_of``). It may have
    an ``about``, a JSON-able mapping that goes into the settings of a run (``about_of``).

    A running ``Trajectory`` is the conversation: ``system_prompt``, ``prompt``, then each
    turn's ``action`` and ``observation``; ``toolbox`` names the tools and the protocol, ``frame`` the coordinates to
    write boxes in. Whoever runs the episodes puts ``agent``, ``env``, ``episode`` and ``seed`` into ``metadata``;
    ``episode`` names a conversation over its turns, for agents that keep a cache per conversation.
    """

    def act(self, episodes: Sequence[Trajectory]) -> Sequence[Said]:
        """Return the next message of each running episode, in the same order.

        What an agent says in an episode must not depend on which other episodes it is asked about at the same time. An
        error in place of a message gives that episode up, and no other.
        """
        ...


def name_of(agent: Agent) -> str:
    """Return an agent's name: its ``name``, or that of its class."""
    name = getattr(agent, "name", None)
    return name if isinstance(name, str) and name else type(agent).__name__


def about_of(agent: Agent) -> Mapping[str, Any]:
    """Return what an agent tells of itself for records, such as its server and temperature: its ``about``, if any."""
    about = getattr(agent, "about", None)
    return about if isinstance(about, Mapping) else {}


def as_reply(said: object, agent: Agent) -> Reply | AgentError:
    """Return what an agent returned for one episode as a reply, or as the error that gives the episode up.

    Raises:
        UsageError: It is nothing that an environment takes; the message says what is.
    """
    if isinstance(said, Reply | AgentError):
        return said
    if isinstance(said, str | ToolCall | Mapping):
        return Reply(said)
    raise UsageError(
        f"agent {name_of(agent)!r} returned {type(said).__name__} for an episode; return the message (str), a "
        "ToolCall, an assistant message (dict), or a Reply with tokens"
    )


@runtime_checkable
class KeepsContextLog(Protocol):
    """An agent that records in each finished trajectory what its prompts held of the conversation."""

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with its context log in the metadata."""
        ...


def with_context_log_of(agent: object, trajectory: Trajectory) -> Trajectory:
    """Return a finished trajectory with the agent's context log, if it keeps one."""
    return agent.with_context_log(trajectory) if isinstance(agent, KeepsContextLog) else trajectory


@runtime_checkable
class AsyncAgent(Agent, Protocol):
    """An agent that waits for somebody else's machine: many conversations go on at their own pace.

    Attributes:
        concurrency: How many conversations to keep going at once.
    """

    concurrency: int

    async def reply(self, episode: Trajectory) -> Reply | Action:
        """Return the next message of one running episode.

        Raises:
            AgentError: There is none to be had.
        """
        ...
