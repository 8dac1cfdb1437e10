"""What a tool call was worth: how the chance of a right answer changes when its result is taken away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal, TypeAlias

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import DataError

CALL_EFFECTS = "call_effects"
"""Key in a trajectory's metadata: the effects of its calls; there and empty where none was played on purpose."""

CallVerdict: TypeAlias = Literal["mattered", "decorative", "harmful"]
"""What the interval of an effect says: all of it above 0, 0 inside it, all of it below 0."""


@dataclass(frozen=True, slots=True)
class CallEffect:
    """What one call was worth.

    Attributes:
        call: Which call of its episode, from 0.
        effect: The chance of a right answer with its result, less that with the result changed.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        plays: How many pairs of episodes it was played on from the call.
        change: How the result was changed.
    """

    call: int
    effect: float
    low: float
    high: float
    plays: int
    change: str = "blank"

    @property
    def verdict(self) -> CallVerdict:
        """Whether the call mattered."""
        return "mattered" if self.low > 0 else "harmful" if self.high < 0 else "decorative"


def with_call_effects(trajectory: Trajectory, effects: Iterable[CallEffect]) -> Trajectory:
    """Return an episode that holds the effects of its calls; none of them say that it was left out on purpose."""
    return replace(trajectory, metadata={**trajectory.metadata, CALL_EFFECTS: [asdict(each) for each in effects]})


def call_effects_of(trajectory: Trajectory) -> tuple[CallEffect, ...] | None:
    """Return the effects of an episode's calls; ``None`` if nobody has played them.

    Raises:
        DataError: The record is damaged.
    """
    written = trajectory.metadata.get(CALL_EFFECTS)
    if written is None:
        return None
    try:
        return tuple(CallEffect(**each) for each in written)
    except TypeError as error:
        raise DataError(f"the effects of the calls of sample {trajectory.sample.id!r} are damaged ({error})") from error
