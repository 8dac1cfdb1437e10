"""Summary: a run in a dozen numbers, while it goes on or when it is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from deepeyes_env.core import UNKNOWN_TOOLS, Trajectory


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a dozen numbers.

    Attributes:
        episodes: Number of episodes.
        accuracy: Mean of the judge's verdicts, over the episodes that were judged; ``None`` if none was.
        reward: Mean reward.
        reward_terms: Mean share of each term, weight times raw, over all episodes (an episode without the term counts
            0), so that they add up to ``reward`` where every episode was scored.
        tool_use: Tool-use rate: share of episodes in which a call returned an image.
        zooms: Share of episodes in which a box was looked at.
        tool_calls: Tool calls per episode, those that failed included.
        failed_calls: Number of calls that did not run, by status.
        iou: Mean intersection over union of the best box with the ground truth, over the episodes with a ground-truth
            box and at least one box that was used; ``None`` if there are none.
        turns: Messages of the policy per episode.
        tokens: Tokens of the policy per episode; ``None`` if none of them has any.
        stop_reasons: Number of episodes by stop reason.
        finish_reasons: Number of the policy's messages by why they ended; those of which it is not known are left out.
        unknown_tools: Number of episodes by tool that the row's own prompt names and the toolbox lacks.
    """

    episodes: int = 0
    accuracy: float | None = None
    reward: float = 0.0
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    tool_use: float = 0.0
    zooms: float = 0.0
    tool_calls: float = 0.0
    failed_calls: Mapping[str, int] = field(default_factory=dict)
    iou: float | None = None
    turns: float = 0.0
    tokens: float | None = None
    stop_reasons: Mapping[str, int] = field(default_factory=dict)
    finish_reasons: Mapping[str, int] = field(default_factory=dict)
    unknown_tools: Mapping[str, int] = field(default_factory=dict)


def summarise(trajectories: Iterable[Trajectory]) -> Summary:
    """Summarise trajectories in one pass; none is kept."""
    running = RunningSummary()
    for trajectory in trajectories:
        running.add(trajectory)
    return running.summary


def unknown_tools_of(trajectory: Trajectory) -> tuple[str, ...]:
    """Return the tools that the row's own prompt names and the toolbox lacks, as the environment recorded them."""
    names = trajectory.metadata.get(UNKNOWN_TOOLS, ())
    return tuple(names) if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names) else ()


def chance(options: Iterable[int]) -> float | None:
    """Return what guessing scores; ``None`` unless every question is multiple choice.

    Args:
        options: How many options each question has; 0 where it is not multiple choice.
    """
    numbers = list(options)
    return fmean(1 / number for number in numbers) if numbers and min(numbers) > 0 else None


class RunningSummary:
    """The summary of the episodes so far; none of them is kept."""

    def __init__(self) -> None:
        self._episodes = self._calls = self._turns = self._tokens = self._used_tool = self._zoomed = 0
        self._reward = 0.0
        self._accuracy, self._iou = _Mean(), _Mean()
        self._terms: dict[str, float] = {}
        self._failed: Counter[str] = Counter()
        self._stops: Counter[str] = Counter()
        self._finishes: Counter[str] = Counter()
        self._unknown_tools: Counter[str] = Counter()

    def add(self, trajectory: Trajectory) -> None:
        """Count one more episode."""
        results = trajectory.results
        self._episodes += 1
        self._turns += len(trajectory.turns)
        self._tokens += sum(len(turn.tokens.ids) for turn in trajectory.turns if turn.tokens)
        self._calls += len(results)
        self._used_tool += trajectory.used_tool
        self._zoomed += bool(trajectory.looks)
        self._reward += trajectory.reward
        for name, term in trajectory.reward_terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + term.weighted
        self._failed.update(result.status for result in results if not result.ok)
        self._stops[trajectory.stop_reason] += 1
        self._finishes.update(turn.finish_reason for turn in trajectory.turns if turn.finish_reason)
        self._unknown_tools.update(unknown_tools_of(trajectory))
        self._accuracy.add(trajectory.correct)
        self._iou.add(trajectory.best_iou)

    @property
    def summary(self) -> Summary:
        """The summary so far."""
        count = max(1, self._episodes)
        return Summary(
            episodes=self._episodes,
            accuracy=self._accuracy.value,
            reward=self._reward / count,
            reward_terms={name: total / count for name, total in self._terms.items()},
            tool_use=self._used_tool / count,
            zooms=self._zoomed / count,
            tool_calls=self._calls / count,
            failed_calls=dict(self._failed.most_common()),
            iou=self._iou.value,
            turns=self._turns / count,
            tokens=self._tokens / count if self._tokens else None,
            stop_reasons=dict(self._stops.most_common()),
            finish_reasons=dict(self._finishes.most_common()),
            unknown_tools=dict(self._unknown_tools.most_common()),
        )


class _Mean:
    """A mean over the values that are there."""

    def __init__(self) -> None:
        self._total = 0.0
        self._count = 0

    def add(self, value: float | None) -> None:
        """Count a value; ``None`` is none."""
        if value is not None:
            self._total += value
            self._count += 1

    @property
    def value(self) -> float | None:
        """The mean so far; ``None`` if there is nothing to take it of."""
        return self._total / self._count if self._count else None


def written_counts(counts: Mapping[str, int], none: str = "none") -> str:
    """Write how often what happened, such as ``answer 7, unfinished 1``; an episode that runs has no name.

    Args:
        counts: Numbers by name, in the order in which they are written.
        none: What is written where nothing happened.
    """
    return ", ".join(f"{name or 'unfinished'} {count}" for name, count in counts.items()) or none
