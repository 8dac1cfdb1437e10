"""DiscreteAction: a finite list of looks and answers, with a mask of those that make sense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from deepeyes_env.envs.wrappers.structured_action import StructuredAction
from deepeyes_env.errors import UsageError, UsageTypeError

ACTION_MASK = "action_mask"
"""Key of the mask in ``info``, as in Gymnasium's own environments."""

Place: TypeAlias = tuple[float, float, float, float]
"""``(centre x, centre y, width, height)`` as fractions of the image."""


def grid_places(columns: int, rows: int) -> tuple[Place, ...]:
    """Divide an image into equal boxes, row by row.

    Raises:
        UsageError: There is no column, or no row.
    """
    if min(columns, rows) < 1:
        raise UsageError(f"grid ({columns}, {rows}): must have at least one column and one row")
    width, height = 1 / columns, 1 / rows
    return tuple(((x + 0.5) * width, (y + 0.5) * height, width, height) for y in range(rows) for x in range(columns))


class DiscreteAction(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Let a policy choose one of ``Discrete(n)``: zoom in on one of some places, or answer with one of the options.

    The places come first, then the answers in the order shown. ``action_masks()`` says which of them make sense now
    (sb3-contrib's ``MaskablePPO`` asks for it), and so does ``info["action_mask"]``, in the form in which
    ``Discrete.sample`` takes it: an answer that is none of the question's options does not, nor does a zoom where the
    row of the data set brings a toolbox without one. A policy that does not look at masks may choose them all the
    same: the answer is wrong, the zoom a mistake.

    Attributes:
        places: What can be zoomed in on.

    Args:
        env: An environment in ``StructuredAction``, which says how many options there are to choose among.
        grid: ``(columns, rows)`` of boxes into which the image is divided, or one number for both.
        places: Other places than those of a grid, ``(centre x, centre y, width, height)`` as fractions of the image.

    Raises:
        UsageTypeError: The environment is not in ``StructuredAction``.
        UsageError: The grid is empty, or a place is not four numbers from 0 to 1.
    """

    def __init__(
        self, env: gym.Env[Any, Any], grid: int | tuple[int, int] = 3, places: Sequence[Place] | None = None
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, grid=grid, places=places)
        gym.Wrapper.__init__(self, env)
        self._structured = _structured(env)
        columns, rows = (grid, grid) if isinstance(grid, int) else grid
        self.places = grid_places(columns, rows) if places is None else tuple(map(_checked, places))
        if "zoom" not in self._structured.kinds:
            self.places = ()
        self._count = len(self.places) + self._structured.max_options
        self.action_space = gym.spaces.Discrete(self._count)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; its mask is in ``info``."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, ACTION_MASK: self.action_masks().astype(np.int8)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Zoom or answer.

        Raises:
            UsageError: The action is outside the space.
        """
        observation, reward, terminated, truncated, info = self.env.step(self.action(action))
        info = {**info, ACTION_MASK: self.action_masks().astype(np.int8)}
        return observation, reward, terminated, truncated, info

    def action(self, action: Any) -> tuple[int, Any]:
        """Turn a number into an action of ``StructuredAction``.

        Raises:
            UsageError: It is outside the space.
        """
        number = int(action)
        if not 0 <= number < self._count:
            raise UsageError(f"action {action!r}: must be 0 to {self._count - 1}")
        if number < len(self.places):
            return self._structured.kinds.index("zoom"), np.array(self.places[number], np.float32)
        return self._structured.kinds.index("answer"), number - len(self.places)

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which actions make sense in the running episode, ``(n,)``.

        Raises:
            gymnasium.error.ResetNeeded: No episode was begun.
        """
        mask = np.zeros(self._count, np.bool_)
        mask[: len(self.places)] = bool(self.places) and self._structured.allowed("zoom") > 0
        mask[len(self.places) : len(self.places) + self._structured.allowed("answer")] = True
        return mask


def _structured(env: gym.Env[Any, Any]) -> StructuredAction:
    while isinstance(env, gym.Wrapper):
        if isinstance(env, StructuredAction):
            return env
        env = env.env
    raise UsageTypeError(f"DiscreteAction wraps an environment in StructuredAction; {env} is in none")


def _checked(place: Place) -> Place:
    if len(place) != 4 or not all(0 <= share <= 1 for share in place):
        raise UsageError(f"place {place!r}: must be (centre x, centre y, width, height), each from 0 to 1")
    return place
