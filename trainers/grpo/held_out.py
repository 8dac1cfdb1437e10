"""BestAccuracy: the best held-out accuracy of a run, and for how long it has been the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class BestAccuracy:
    """The best held-out accuracy so far.

    Attributes:
        accuracy: The accuracy; ``None`` before the first evaluation.
        step: After which step it was measured.
        since: Evaluations since then, none of which was better.
    """

    accuracy: float | None = None
    step: int = 0
    since: int = 0

    def update(self, step: int, accuracy: float) -> bool:
        """Take in an evaluation; returns whether it is the best so far."""
        better = self.accuracy is None or accuracy > self.accuracy
        if better:
            self.accuracy, self.step, self.since = accuracy, step, 0
        else:
            self.since += 1
        return better

    def state(self) -> tuple[Any, ...]:
        """Return what a checkpoint keeps."""
        return (self.accuracy, self.step, self.since)

    def restore(self, state: Sequence[Any]) -> None:
        """Go back to what ``state`` returned."""
        self.accuracy, self.step, self.since = state
