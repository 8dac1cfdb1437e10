"""Summary: a run in a dozen numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deepeyes_env.core import Trajectory
from deepeyes_env.images.frames import iou

ACCURACY_TERM = "acc"
"""Name of the rubric term that holds the judge's verdict on the answer."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a dozen numbers.

    Attributes:
        episodes: Number of episodes.
        accuracy: Mean of the raw ``acc`` term, over the episodes that have one; ``None`` if none has.
        reward: Mean reward.
        reward_terms: Mean share of each term, weight times raw, over all episodes (an episode without the term counts
            0), so that they add up to ``reward`` where every episode was scored.
        tool_calls: Tool calls per episode, those that failed included.
        failed_calls: Number of calls that did not run, by status.
        iou: Mean intersection over union of the best box with the ground truth, over the episodes with a ground-truth
            box and at least one box that was used; ``None`` if there are none.
        turns: Messages of the policy per episode.
        stop_reasons: Number of episodes by stop reason.
    """

    episodes: int = 0
    accuracy: float | None = None
    reward: float = 0.0
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    tool_calls: float = 0.0
    failed_calls: Mapping[str, int] = field(default_factory=dict)
    iou: float | None = None
    turns: float = 0.0
    stop_reasons: Mapping[str, int] = field(default_factory=dict)


def summarise(trajectories: Iterable[Trajectory]) -> Summary:
    """Summarise trajectories in one pass; none is kept."""
    episodes = calls = turns = 0
    reward = 0.0
    accuracy, overlap = _Mean(), _Mean()
    terms: dict[str, float] = {}
    failed: Counter[str] = Counter()
    stops: Counter[str] = Counter()
    for trajectory in trajectories:
        episodes += 1
        turns += len(trajectory.turns)
        calls += len(trajectory.results)
        reward += trajectory.reward
        for name, term in trajectory.reward_terms.items():
            terms[name] = terms.get(name, 0.0) + term.weighted
        failed.update(result.status for result in trajectory.results if not result.ok)
        stops[trajectory.stop_reason] += 1
        accuracy.add(trajectory.reward_terms[ACCURACY_TERM].raw if ACCURACY_TERM in trajectory.reward_terms else None)
        overlap.add(best_iou(trajectory))
    count = max(1, episodes)
    return Summary(
        episodes=episodes,
        accuracy=accuracy.value,
        reward=reward / count,
        reward_terms={name: total / count for name, total in terms.items()},
        tool_calls=calls / count,
        failed_calls=dict(failed.most_common()),
        iou=overlap.value,
        turns=turns / count,
        stop_reasons=dict(stops.most_common()),
    )


def is_right(trajectory: Trajectory) -> bool | None:
    """Whether the judge took the answer for right (raw ``acc`` above 0.5); ``None`` when it was not judged."""
    term = trajectory.reward_terms.get(ACCURACY_TERM)
    return None if term is None else term.raw > 0.5


def best_iou(trajectory: Trajectory) -> float | None:
    """Return the highest IoU of any used box with any ground-truth box; ``None`` without either."""
    used = [result.box for result in trajectory.results if result.ok and result.box is not None]
    return max((iou(box, truth) for box in used for truth in trajectory.sample.boxes), default=None)


class _Mean:
    """A mean over the values that are there."""

    def __init__(self) -> None:
        self._total = 0.0
        self._count = 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self._total += value
            self._count += 1

    @property
    def value(self) -> float | None:
        return self._total / self._count if self._count else None
