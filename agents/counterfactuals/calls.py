"""Recorded calls under changes: what is asked, and where each episode goes on from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from deepeyes_env.agents.counterfactuals.changes import CHANGES, Change, before, possible_changes
from deepeyes_env.agents.counterfactuals.plan import Asked
from deepeyes_env.agents.evaluation.plan import episode_seed
from deepeyes_env.agents.play import Episode
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import ToolResult, Trajectory
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import unknown_name
from deepeyes_env.seeds import check_seed

MOST_REPEATS, MOST_CALLS = 64, 32
"""Of a call, and of an episode; further calls are not looked at. Numbers of episodes are made of them."""

Reread = Callable[[], Iterable[Trajectory]]
"""Gives the recorded episodes, in the same order each time."""


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call that can be changed.

    Attributes:
        episode: Number of its episode.
        call: Which call, from 0.
        sample_id: Id of the sample.
        changes: How it can be changed.
        result: What came of it.
    """

    episode: int
    call: int
    sample_id: str
    changes: tuple[Change, ...]
    result: ToolResult


class CallPlan:
    """Which episodes are asked: every recorded call, under each change that it allows, k times.

    Episodes are read twice, one at a time: once to find their calls, and again as they are played. An episode has the
    same seed under all changes of all calls in one repeat, so that states that are the same are asked once.

    Args:
        reread: Gives the recorded episodes.
        changes: See ``changes.Change``.
        k: How often each call is played on from under each change.
        limit: The first N episodes that have a call; ``None`` for all.
        seed: Seed of the run.

    Raises:
        UsageError: An argument is out of its range.
    """

    def __init__(
        self,
        reread: Reread,
        changes: Sequence[str] = ("as_was", "blank"),
        k: int = 8,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        for change in changes:
            if change not in CHANGES:
                raise unknown_name("change", change, CHANGES)
        if not 1 <= k <= MOST_REPEATS:
            raise UsageError(f"k={k}: must be from 1 to {MOST_REPEATS}")
        if limit is not None and limit < 1:
            raise UsageError(f"limit={limit}: must be at least 1")
        check_seed(seed)
        self.changes = tuple(changes)
        self.k = k
        self.seed = seed
        self._reread = reread
        self.calls = tuple(_calls_in(reread(), limit))
        self._others = [call for call in self.calls if "swapped" in call.changes]

    def __len__(self) -> int:
        return self.k * sum(len(self._asked_of(call)) for call in self.calls)

    def __iter__(self) -> Iterator[Asked]:
        """Give what is asked, call by call."""
        for call in self.calls:
            for repeat in range(self.k):
                for change in self._asked_of(call):
                    yield Asked(call.episode, change, repeat, call.call)

    def number(self, asked: Asked) -> int:
        """Return the number of an episode."""
        call = asked.sample * MOST_CALLS + asked.call
        return (call * MOST_REPEATS + asked.repeat) * len(CHANGES) + CHANGES.index(asked.condition)

    def asked(self, number: int) -> Asked:
        """Return what the episode of a number asks."""
        rest, change = divmod(number, len(CHANGES))
        rest, repeat = divmod(rest, MOST_REPEATS)
        episode, call = divmod(rest, MOST_CALLS)
        return Asked(episode, CHANGES[change], repeat, call)

    def episodes(self, asked: Sequence[Asked]) -> Iterator[Episode]:
        """Give episodes to be played, in the order in which ``__iter__`` gives what they ask."""
        wanted = iter(asked)
        at = next(wanted, None)
        for trajectory in self._reread():
            while at is not None and at.sample == number_of(trajectory):
                yield self._episode(trajectory, at)
                at = next(wanted, None)
            if at is None:
                return

    def _episode(self, trajectory: Trajectory, asked: Asked) -> Episode:
        seed = episode_seed(self.seed, asked.sample, asked.repeat)
        change: Change = asked.condition  # type: ignore[assignment]  # checked in __init__
        other = self._other(trajectory, asked) if change == "swapped" else None
        state = before(trajectory, asked.call, change, other, seed)
        return Episode(self.number(asked), seed, start=Snapshot.of_record(state))

    def _asked_of(self, call: RecordedCall) -> tuple[str, ...]:
        """Return the changes that are asked of a call: all that it allows, where there is one beside its result."""
        named = tuple(change for change in self.changes if change in call.changes)
        return named if set(named) - {"as_was"} else ()

    def _other(self, trajectory: Trajectory, asked: Asked) -> ToolResult | None:
        """Return the result of a call about another sample, with other images; ``None`` if none is found."""
        random, own = Random(f"{self.seed} {asked}"), trajectory.results[asked.call].images
        for _ in range(64):
            other = random.choice(self._others)
            if other.sample_id != trajectory.sample.id and (other.result.images != own or not own):
                return other.result
        return None


def _calls_in(trajectories: Iterable[Trajectory], limit: int | None) -> Iterator[RecordedCall]:
    found = 0
    for trajectory in trajectories:
        calls = list(recorded_calls(trajectory))
        yield from calls
        found += bool(calls)
        if limit is not None and found >= limit:
            return


def recorded_calls(trajectory: Trajectory) -> Iterator[RecordedCall]:
    """Give the calls of an episode that can be changed."""
    for call, result in enumerate(trajectory.results[:MOST_CALLS]):
        if changes := possible_changes(trajectory, call):
            yield RecordedCall(number_of(trajectory), call, trajectory.sample.id, changes, result)
