"""FlatAction: a choice among spaces as one vector of numbers."""

from __future__ import annotations

from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deepeyes_env.errors import UsageError, UsageTypeError

_Part: TypeAlias = "gym.spaces.Box | gym.spaces.Discrete"


class FlatAction(gym.ActionWrapper[Any, NDArray[np.float32], Any], gym.utils.RecordConstructorArgs):
    """Act with one ``Box(-1, 1, (n,))`` where the environment takes a ``OneOf`` of ``Box`` and ``Discrete`` spaces.

    Most algorithms know neither ``OneOf`` nor ``Dict`` actions. The vector holds one score for each space, then for
    each space its part: a ``Box`` one number per entry, with -1 and 1 standing for its bounds; a ``Discrete(k)`` one
    score for each of its ``k`` values. The highest score is chosen, the first of equals; the parts of the other spaces
    have no effect. To choose among a few values of each number instead, as multi-categorical policies do, add
    ``gymnasium.wrappers.DiscretizeAction(env, bins=11, multidiscrete=True)``.

    Args:
        env: An environment with such an action space, for instance one in ``StructuredAction``.

    Raises:
        UsageTypeError: The action space is not a ``OneOf`` of bounded ``Box`` and ``Discrete`` spaces.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        if not isinstance(env.action_space, gym.spaces.OneOf):
            raise UsageTypeError(f"FlatAction needs an action space OneOf(...), got {env.action_space}")
        self._spaces = [_checked(space) for space in env.action_space.spaces]
        lengths = [len(self._spaces), *map(_length, self._spaces)]
        self._ends = np.cumsum(lengths)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (sum(lengths),), np.float32)

    def action(self, action: NDArray[np.float32]) -> tuple[int, Any]:
        """Read the vector: which space, and which value of it.

        Raises:
            ValueError: The vector has the wrong shape or holds NaN.
        """
        vector = np.asarray(action, np.float32)
        if vector.shape != self.action_space.shape or np.isnan(vector).any():
            raise UsageError(f"action {action!r}: must be {self._ends[-1]} numbers from -1 to 1")
        scores, *parts = np.split(vector, self._ends[:-1])
        kind = int(scores.argmax())
        space, part = self._spaces[kind], parts[kind]
        if isinstance(space, gym.spaces.Discrete):
            return kind, int(space.start) + int(part.argmax())
        share = (np.clip(part, -1.0, 1.0).reshape(space.shape) + 1.0) / 2.0
        return kind, (space.low + share * (space.high - space.low)).astype(space.dtype)


def _checked(space: gym.Space[Any]) -> _Part:
    if isinstance(space, gym.spaces.Discrete) or (isinstance(space, gym.spaces.Box) and space.is_bounded()):
        return space
    raise UsageTypeError(f"FlatAction takes bounded Box and Discrete spaces, not {space}")


def _length(space: _Part) -> int:
    return int(space.n) if isinstance(space, gym.spaces.Discrete) else int(np.prod(space.shape))
