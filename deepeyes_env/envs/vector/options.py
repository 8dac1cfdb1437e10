"""Options of a vector environment's ``reset``, checked at once: raised inside an environment they would only end it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deepeyes_env.envs.reset_options import RESET_OPTIONS, check_reset_options
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.registry import unknown_name


def masked(mask: Any, num_envs: int) -> list[int]:
    """Return the environments that ``options["reset_mask"]`` names; all if it is ``None``.

    Raises:
        UsageTypeError: The mask is not a boolean array.
        UsageError: It has the wrong shape, or names none.
    """
    if mask is None:
        return list(range(num_envs))
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise UsageTypeError(f"reset: options['reset_mask'] must be a boolean array, got {mask!r}")
    if mask.shape != (num_envs,) or not mask.any():
        raise UsageError(f"reset: options['reset_mask'] must have shape ({num_envs},) and a True in it, got {mask!r}")
    return [int(i) for i in np.flatnonzero(mask)]


def per_env_options(options: Mapping[str, Any], num_envs: int, num_samples: int) -> list[dict[str, Any] | None]:
    """Return the options of each environment's own ``reset``.

    Args:
        options: ``index``, ``sample`` or ``snapshot``, one for all environments or a sequence with one for each.
        num_envs: Number of environments.
        num_samples: Number of samples in the data set.

    Raises:
        UsageError: An option is unknown, there is not one for each environment, or one has several.
        UsageTypeError: An index is no integer, or a sample no ``Sample``.
        IndexError: An index is outside the data set.
    """
    per_env: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, given in options.items():
        if key not in RESET_OPTIONS:
            raise unknown_name("option of reset", key, (*RESET_OPTIONS, "reset_mask"))
        each = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
        values = list(given) if each else [given] * num_envs
        if len(values) != num_envs:
            raise UsageError(
                f"reset: options[{key!r}] has {len(values)} entries for {num_envs} environments; give one for each, or "
                "one for all"
            )
        for choice, value in zip(per_env, values, strict=True):
            if value is not None:
                choice[key] = value
    for choice in per_env:
        check_reset_options(choice, num_samples)
    return [choice or None for choice in per_env]
