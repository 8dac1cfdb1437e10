"""What a vector environment and the environments it holds say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import gymnasium as gym

from deepeyes_env.core import StopReason, Trajectory, Turn
from deepeyes_env.envs.visual_toolbox import Observation


@dataclass(frozen=True, slots=True)
class Reset:
    """Begin an episode.

    Attributes:
        seed: Seed of the episode.
        options: Options of ``VisualToolboxEnv.reset``.
    """

    seed: int
    options: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Take the policy's next message.

    Attributes:
        action: The message.
    """

    action: Any


@dataclass(frozen=True, slots=True)
class Truncate:
    """End the episode by a limit that only whoever plays it can count.

    Attributes:
        stop: The stop reason.
    """

    stop: StopReason


Command: TypeAlias = Reset | Step | Truncate


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command.

    Attributes:
        observation: The observation; empty if the environment failed.
        reward: The reward.
        terminated: The policy ended the episode.
        truncated: A limit ended the episode, or the environment failed.
        info: The environment's ``info``.
        error: Type and message of the exception by which the environment failed; empty if it did not.
    """

    observation: Observation
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self.terminated or self.truncated

    @classmethod
    def failed(cls, error: BaseException, info: dict[str, Any]) -> Outcome:
        """Return the outcome of a command that raised: the episode is over, with an empty observation."""
        return cls({"text": "", "images": ()}, truncated=True, info=info, error=f"{type(error).__name__}: {error}")


@dataclass(slots=True)
class Running:
    """An episode as seen from outside: how it began, and the turns since.

    Attributes:
        opening: The trajectory before the first turn.
        turns: The turns so far.
    """

    opening: Trajectory
    turns: list[Turn] = field(default_factory=list)

    @classmethod
    def of(cls, begun: Trajectory) -> Running:
        """Return an episode that has just begun, or goes on from a snapshot."""
        return cls(begun, list(begun.turns))

    def trajectory(self, **changes: Any) -> Trajectory:
        """Return the trajectory so far, with some fields changed."""
        return replace(self.opening, turns=tuple(self.turns), **changes)


@dataclass(frozen=True)
class EnvDescription:
    """What a vector environment needs to know of the environments it holds.

    Attributes:
        observation_space: Space of one environment's observations.
        action_space: Space of one environment's actions.
        metadata: The environments' metadata.
        render_mode: How they render.
        num_samples: Number of samples in their data set.
    """

    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    metadata: Mapping[str, Any]
    render_mode: str | None
    num_samples: int
