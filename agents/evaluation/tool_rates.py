"""How often a policy used each of its tools, what went wrong, and how long it took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deepeyes_env.core import ToolResult, Trajectory
from deepeyes_env.sandbox.observation import error_in
from deepeyes_env.tools.python import PythonTool

UNREAD = "(unread)"
"""Stands for the tool of a call that could not be read."""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """One call in numbers.

    Attributes:
        tool: Name of the tool; ``UNREAD`` if the call could not be read.
        error: What went wrong: the status of a call that did not run, or the name of the exception that a program ended
            with; empty if nothing did.
        seconds: Wall-clock time that the tool took.
    """

    tool: str
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ToolRate:
    """What there is to say about one tool.

    Attributes:
        rate: Share of episodes with a call of it, failed ones included.
        calls: Calls per episode.
        failed: Share of its calls in which something went wrong.
        errors: Number of calls by what went wrong.
        seconds: Seconds that a call took on average; of programs it is the time in the sandbox.
        total_seconds: Seconds of all calls together.
    """

    rate: float
    calls: float
    failed: float
    seconds: float
    total_seconds: float
    errors: Mapping[str, int] = field(default_factory=dict)


def outcomes_of(trajectory: Trajectory) -> tuple[CallOutcome, ...]:
    """Return the calls of an episode in numbers."""
    return tuple(
        CallOutcome(result.call.name or UNREAD, _error(result), result.seconds) for result in trajectory.results
    )


def tool_rates(episodes: Sequence[Sequence[CallOutcome]]) -> dict[str, ToolRate]:
    """Return what there is to say about each tool, by its name, from the calls of each episode."""
    names = sorted({call.tool for calls in episodes for call in calls})
    return {name: _rate([[call for call in calls if call.tool == name] for calls in episodes]) for name in names}


def _error(result: ToolResult) -> str:
    if not result.ok:
        return result.status
    return error_in(result.text) if result.call.name == PythonTool.name else ""


def _rate(episodes: Sequence[Sequence[CallOutcome]]) -> ToolRate:
    calls = [call for episode in episodes for call in episode]
    errors = Counter(call.error for call in calls if call.error)
    seconds = math.fsum(call.seconds for call in calls)
    return ToolRate(
        rate=sum(bool(episode) for episode in episodes) / len(episodes),
        calls=len(calls) / len(episodes),
        failed=errors.total() / len(calls),
        seconds=seconds / len(calls),
        total_seconds=seconds,
        errors=dict(errors.most_common()),
    )
