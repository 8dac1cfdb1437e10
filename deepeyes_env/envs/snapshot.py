"""Snapshot: a state of an environment to come back to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepeyes_env.core import Sample, StopReason, Trajectory, Turn
from deepeyes_env.data import Dataset
from deepeyes_env.errors import UsageError
from deepeyes_env.protocols import MalformedCall, ParsedMessage


@dataclass(frozen=True)
class Snapshot:
    """A state of ``VisualToolboxEnv``, from which any number of episodes can branch.

    In the process that made it, it shares the immutable trajectory with the environment: branching costs nothing. When
    pickled it keeps only what the state follows from (a few kB); restoring then replays the actions, as it always does
    for tools that keep state. What these come to is compared with what they came to before.

    Attributes:
        index: Index of the sample in the data set; ``None`` if it came through ``options``.
        sample: The sample, if it came through ``options``.
        options: The sample's options in the order shown.
        actions: What the policy wrote so far, as text.
        read: The same taken apart, as it was read then: a message with ``tool_calls`` holds more than its text.
        rng: State of the environment's random number generator.
        fingerprint: Tells whether another data set has the same sample at that index (``fingerprint_of``).
        trajectory: The trajectory itself; lost in pickling.
        turns: Turns that stand whatever the actions lead to when they are replayed; empty for those that they lead to.
        outcomes: What the calls of each turn came to, where tools keep state: digests; see ``outcome_of``.
        stop: Why the episode has ended, where it has: a limit that only whoever plays it counts is not replayed.
    """

    index: int | None
    sample: Sample | None
    options: tuple[str, ...]
    actions: tuple[str, ...]
    read: tuple[ParsedMessage, ...]
    rng: dict[str, Any]
    fingerprint: str
    trajectory: Trajectory | None = field(default=None, compare=False, repr=False)
    turns: tuple[Turn, ...] = field(default=(), compare=False, repr=False)
    outcomes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    stop: StopReason = ""

    @classmethod
    def of_state(
        cls, trajectory: Trajectory, index: int | None, rng: np.random.Generator, *, stateful: bool = False
    ) -> Snapshot:
        """Return the snapshot of an environment's state.

        Args:
            trajectory: The episode so far.
            index: Index of its sample in the data set; ``None`` if it came through ``options``.
            rng: The environment's random number generator.
            stateful: Whether tools keep state: then outcomes are noted.
        """
        sample, state = trajectory.sample, dict(rng.bit_generator.state)
        own = sample if index is None else None
        outcomes = tuple(map(outcome_of, trajectory.turns)) if stateful else ()
        fingerprint = fingerprint_of(sample)
        actions, read = _written(trajectory.turns)
        shown = (own, sample.options, actions, read, state, fingerprint, trajectory)
        return cls(index, *shown, outcomes=outcomes, stop=trajectory.stop_reason)

    @classmethod
    def of_record(cls, trajectory: Trajectory) -> Snapshot:
        """Return a snapshot of a recorded episode, to go on from it: its turns stand, also where they were changed.

        What the policy reads when it goes on are the turns of ``trajectory``: a caller that replaces an observation in
        them, or leaves a call out, has it go on from there. Tools that keep state run the actions of these turns again,
        and what comes of it is not shown. The environment must have the settings that the episode was played with.

        Args:
            trajectory: The episode, up to where it goes on; one that has ended is taken as if it had not.
        """
        going = replace(
            trajectory, reward=0.0, reward_terms={}, correct=None, terminated=False, truncated=False, stop_reason=""
        )
        sample, (actions, read) = trajectory.sample, _written(trajectory.turns)
        return cls(None, sample, sample.options, actions, read, {}, fingerprint_of(sample), going, trajectory.turns)

    def differing(self, turns: Sequence[Turn]) -> list[int]:
        """Return the numbers of the turns, from 1, whose calls came to something else when they were replayed.

        Args:
            turns: The turns that the actions led to now.
        """
        then = self.outcomes or tuple(map(outcome_of, self.turns))
        now = tuple(map(outcome_of, turns)) if then else ()
        return [number for number in range(1, len(then) + 1) if now[number - 1 : number] != then[number - 1 : number]]

    def check_opening(self, opening: Trajectory) -> None:
        """Check that a recorded episode begins in an environment as it did when it was recorded.

        Raises:
            UsageError: It does not: the environment has other settings.
        """
        then, now = (
            (each.system_prompt, each.prompt.text, [image.size for image in each.prompt.images])
            for each in (self.trajectory or opening, opening)
        )
        if self.turns and then != now:
            raise UsageError(
                f"restore: the recorded episode of sample {opening.sample.id!r} opened with another prompt or view; "
                "restore it into an environment with the settings of its run (toolbox, view, prompt)"
            )

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
        return (
            Snapshot,
            (
                *(self.index, self.sample, self.options, self.actions, self.read, self.rng, self.fingerprint),
                *(None, self.turns, self.outcomes, self.stop),
            ),
        )


def _written(turns: Sequence[Turn]) -> tuple[tuple[str, ...], tuple[ParsedMessage, ...]]:
    """Return what the policy wrote in some turns: as text, and as it was read."""
    return tuple(turn.action for turn in turns), tuple(map(as_read, turns))


def as_read(turn: Turn) -> ParsedMessage:
    """Return the message of a turn as it was read, whatever its text would be read as now."""
    calls = tuple(MalformedCall(each.error) if each.status == "malformed" else each.call for each in turn.results)
    return ParsedMessage(turn.answer, calls, turn.skipped)


_ADDRESS = re.compile(" at 0x[0-9A-Fa-f]+")


def outcome_of(turn: Turn) -> str:
    """Return a digest of what the calls of a turn came to: texts, but for addresses in memory, and pixels."""
    digest = hashlib.sha256()
    for result in turn.results:
        digest.update(_ADDRESS.sub("", json.dumps([result.status, result.error, result.text])).encode())
        for image in result.images:
            digest.update(repr(image.size).encode() + image.pixels().tobytes())
    return digest.hexdigest()[:16]


def fingerprint_of(sample: Sample) -> str:
    """Return a digest of a sample's id, question, answer, options in any order, boxes, sizes of images and messages."""
    sizes = [list(image.size) for image in sample.images]
    told: list[Any] = [sample.id, sample.question, sample.answer, sorted(sample.options), sample.boxes, sizes]
    told += [[message.role, message.content] for message in sample.messages]
    told += [list(sample.box_images)] if sample.box_images else []
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
