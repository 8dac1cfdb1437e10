"""Snapshot: a state of an environment to come back to."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.data import Dataset
from deepeyes_env.errors import UsageError


@dataclass(frozen=True)
class Snapshot:
    """A state of ``VisualToolboxEnv``, from which any number of episodes can branch.

    In the process that made it, it shares the immutable trajectory with the environment: branching costs nothing. When
    pickled it keeps only what the state follows from (a few kB); restoring then replays the actions, as it always does
    for tools that keep state.

    Attributes:
        index: Index of the sample in the data set; ``None`` if it came through ``options``.
        sample: The sample, if it came through ``options``.
        options: The sample's options in the order shown.
        actions: What the policy wrote so far.
        rng: State of the environment's random number generator.
        fingerprint: Tells whether another data set has the same sample at that index (``fingerprint_of``).
        trajectory: The trajectory itself; lost in pickling.
    """

    index: int | None
    sample: Sample | None
    options: tuple[str, ...]
    actions: tuple[str, ...]
    rng: dict[str, Any]
    fingerprint: str
    trajectory: Trajectory | None = field(default=None, compare=False, repr=False)

    def sample_in(self, dataset: Dataset) -> Sample:
        """Return the snapshot's sample, its options in no particular order.

        Raises:
            UsageError: ``dataset`` has another sample at the index.
        """
        if self.index is None:
            if self.sample is None:
                raise UsageError("restore: the snapshot holds neither an index nor a sample")
            return self.sample
        sample = dataset[self.index] if self.index < len(dataset) else None
        if sample is None or fingerprint_of(sample) != self.fingerprint:
            found = f"is another one, {sample.id!r}," if sample else "does not exist"
            raise UsageError(
                f"restore: sample {self.index} {found} in this data set; restore into an environment with the data set "
                "that the snapshot was made with"
            )
        return sample

    def __reduce__(self) -> tuple[Any, ...]:
        return (Snapshot, (self.index, self.sample, self.options, self.actions, self.rng, self.fingerprint))


def fingerprint_of(sample: Sample) -> str:
    """Return a digest of a sample's id, question, answer, options in any order, boxes, sizes of images and messages."""
    sizes = [list(image.size) for image in sample.images]
    told: list[Any] = [sample.id, sample.question, sample.answer, sorted(sample.options), sample.boxes, sizes]
    told += [[message.role, message.content] for message in sample.messages]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
