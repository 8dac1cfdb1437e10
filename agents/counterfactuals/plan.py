"""What is asked: every sample under every condition, k times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from deepeyes_env.agents.evaluation.plan import episode_seed
from deepeyes_env.agents.play import Episode
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import unknown_name
from deepeyes_env.seeds import check_seed

Condition: TypeAlias = Literal["without", "with", "shown"]
"""How a sample is asked.

``without``: an ordinary question without tools. ``with``: with tools. ``shown``: without tools, and its true regions
shown beside the image.
"""

CONDITIONS: tuple[Condition, ...] = get_args(Condition)


@dataclass(frozen=True, slots=True)
class Asked:
    """One episode of a plan.

    Attributes:
        sample: Index of the sample in its data set; of a changed call, the number of the recorded episode.
        condition: How it is asked: a ``Condition``, or a ``changes.Change`` of a call's result.
        repeat: Which repeat, from 0.
        call: Which call of the recorded episode is changed, from 0; -1 where none is.
    """

    sample: int
    condition: str
    repeat: int
    call: int = -1


@dataclass(frozen=True)
class ConditionPlan:
    """Which episodes are asked.

    The number of an episode depends only on the size of the data set, and its seed on the sample and the repeat: more
    repeats, samples or conditions may be asked later, and a sample has the same seed under all conditions.

    Attributes:
        samples: Size of the whole data set.
        conditions: See ``Condition``.
        k: How often each sample is asked under each condition.
        limit: The first N samples are asked; ``None`` for all.
        chosen: Indices of the samples to ask, of those within the limit; ``None`` for all.
        seed: Seed of the run.

    Raises:
        UsageError: An attribute is out of its range.
    """

    samples: int
    conditions: tuple[str, ...] = CONDITIONS
    k: int = 8
    limit: int | None = None
    chosen: Sequence[int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "k", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value}: must be at least 1")
        for each in self.conditions:
            if each not in CONDITIONS:
                raise unknown_name("condition", each, CONDITIONS)
        if self.chosen is not None and not all(0 <= index < self.samples for index in self.chosen):
            raise UsageError(f"chosen: holds an index outside the {self.samples} samples of the data set")
        check_seed(self.seed)

    @property
    def indices(self) -> Sequence[int]:
        """Indices of the samples that are asked."""
        asked = range(min(self.samples, self.limit or self.samples))
        return asked if self.chosen is None else [index for index in self.chosen if index in asked]

    def __len__(self) -> int:
        return len(self.indices) * len(self.conditions) * self.k

    def __iter__(self) -> Iterator[Asked]:
        """Give what is asked; the episodes of one sample follow one another, so that its image is decoded once."""
        for sample in self.indices:
            for repeat in range(self.k):
                for condition in self.conditions:
                    yield Asked(sample, condition, repeat)

    def number(self, asked: Asked) -> int:
        """Return the number of an episode."""
        return (asked.repeat * self.samples + asked.sample) * len(CONDITIONS) + _place(asked.condition)

    def asked(self, number: int) -> Asked:
        """Return what the episode of a number asks."""
        rest, place = divmod(number, len(CONDITIONS))
        repeat, sample = divmod(rest, self.samples)
        return Asked(sample, CONDITIONS[place], repeat)

    def episodes(self, asked: Iterable[Asked]) -> Iterator[Episode]:
        """Give episodes to be played with ``samples.InConditions``."""
        for each in asked:
            index = each.sample * len(CONDITIONS) + _place(each.condition)
            yield Episode(self.number(each), episode_seed(self.seed, each.sample, each.repeat), index)


def _place(condition: str) -> int:
    return CONDITIONS.index(condition)
