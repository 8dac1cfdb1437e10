"""What an evaluation asks: every sample, with and without tools, as often as wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from deepeyes_env.agents.play import Episode
from deepeyes_env.core import Sample
from deepeyes_env.data import Dataset
from deepeyes_env.errors import UsageError
from deepeyes_env.protocols import ANSWER
from deepeyes_env.seeds import check_seed

Tools: TypeAlias = Literal["on", "off", "both"]
"""Whether the policy may use tools; ``both`` asks every question twice."""

CONDITIONS = ("on", "off")

WITHOUT_TOOLS = (
    "Answer the question about the image. Think first if it helps, then write nothing but the final answer between "
    f"{ANSWER.opening} and {ANSWER.closing}."
)
"""System prompt of a question without tools: as much room to think as there is with them, and an answer that stands
apart from the thoughts."""


def with_tools(sample: Sample) -> Sample:
    """Return a sample as it is asked with tools, also where it is an ordinary question."""
    return sample if sample.env_name is not None else replace(sample, env_name="", messages=())


def without_tools(sample: Sample, system_prompt: str = WITHOUT_TOOLS) -> Sample:
    """Return a sample as an ordinary question, with its own system prompt if it has one."""
    metadata = {"system_prompt": system_prompt, **sample.metadata}
    return replace(sample, env_name=None, metadata=metadata, messages=())


def episode_seed(seed: int, *place: int) -> int:
    """Return the seed of an episode from that of its run and its place in it: of 31 bits, which servers take."""
    digest = hashlib.blake2b(" ".join(map(str, (seed, *place))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class WithAndWithoutTools:
    """A data set twice over: sample ``i`` with tools has index ``2 i``; as an ordinary question, ``2 i + 1``.

    Args:
        dataset: The samples. One that names a toolbox of its own keeps it; one that is an ordinary question anyway is
            asked with tools all the same. Without tools the system prompt is ``WITHOUT_TOOLS``, unless the sample
            has one of its own. A sample that is asked in another way than its own messages were written for loses them.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.view: Any = getattr(dataset, "view", None)

    def __len__(self) -> int:
        return 2 * len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside {len(self)} samples")
        sample = self.dataset[index // 2]
        return with_tools(sample) if index % 2 == 0 else without_tools(sample)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Which episodes an evaluation consists of.

    Their numbers depend only on the size of the data set, so that a run can be resumed with more samples, more repeats
    or the other condition.

    Attributes:
        samples: Size of the whole data set.
        tools: See ``Tools``.
        repeats: How often each sample is asked.
        limit: The first N samples are asked; ``None`` for all.
        seed: Decides the order of options and the agent's own draws.

    Raises:
        UsageError: An attribute is out of its range.
    """

    samples: int
    tools: Tools = "on"
    repeats: int = 1
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tools not in get_args(Tools):
            raise UsageError(f"tools={self.tools!r}: must be one of {', '.join(get_args(Tools))}")
        for name in ("samples", "repeats", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name}={value}: must be at least 1")
        check_seed(self.seed)

    @property
    def asked(self) -> int:
        """How many samples are asked."""
        return min(self.samples, self.limit or self.samples)

    @property
    def conditions(self) -> tuple[str, ...]:
        """With tools, without, or both."""
        return CONDITIONS if self.tools == "both" else (self.tools,)

    def __len__(self) -> int:
        return self.asked * self.repeats * len(self.conditions)

    def __iter__(self) -> Iterator[Episode]:
        """Give the episodes; those of one sample follow one another, so that its image is decoded once."""
        for repeat in range(self.repeats):
            for sample in range(self.asked):
                for condition in self.conditions:
                    index = 2 * sample + CONDITIONS.index(condition)
                    # The same seed with and without tools, and for every policy.
                    yield Episode(repeat * 2 * self.samples + index, episode_seed(self.seed, sample, repeat), index)

    def sample_of(self, episode: int) -> int:
        """Return the index of the sample that an episode asks."""
        return episode % (2 * self.samples) // 2

    def repeat_of(self, episode: int) -> int:
        """Return which repeat an episode belongs to, from 0."""
        return episode // (2 * self.samples)

    def condition_of(self, episode: int) -> str:
        """Return whether an episode has tools: ``on`` or ``off``."""
        return CONDITIONS[episode % 2]

    def united(self, other: Plan) -> Plan:
        """Return the plan of a run that was begun with one and went on with the other."""
        tools: Tools = self.tools if self.tools == other.tools else "both"
        limit = None if self.limit is None or other.limit is None else max(self.limit, other.limit)
        return replace(self, tools=tools, repeats=max(self.repeats, other.repeats), limit=limit)
