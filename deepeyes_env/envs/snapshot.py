"""Snapshot: a state of an environment to come back to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deepeyes_env.core import Sample, Trajectory


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
        trajectory: The trajectory itself; lost in pickling.
    """

    index: int | None
    sample: Sample | None
    options: tuple[str, ...]
    actions: tuple[str, ...]
    rng: dict[str, Any]
    trajectory: Trajectory | None = field(default=None, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Snapshot, (self.index, self.sample, self.options, self.actions, self.rng))
