"""Options of ``reset``, checked at once: a wrong one would play another question than was asked for."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepeyes_env.core import Sample
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.registry import unknown_name

RESET_OPTIONS = ("index", "sample", "snapshot")


def check_reset_options(
    options: Mapping[str, Any] | None, num_samples: int
) -> tuple[int | None, Sample | None, Snapshot | None]:
    """Return what options of ``VisualToolboxEnv.reset`` begin with: index, sample or snapshot; two are ``None``.

    Raises:
        UnknownNameError: An unknown option.
        UsageError: More than one of them is given; or the episode of the snapshot has ended.
        UsageTypeError: The index is no integer, the sample no ``Sample``, or the snapshot no ``Snapshot``.
        IndexError: The index is outside the data set.
    """
    if not options:
        return None, None, None
    if unknown := set(options) - set(RESET_OPTIONS):
        raise unknown_name("option of reset", sorted(unknown)[0], RESET_OPTIONS)
    index, sample, snapshot = (options.get(name) for name in RESET_OPTIONS)
    given = [name for name in RESET_OPTIONS if options.get(name) is not None]
    if len(given) > 1:
        raise UsageError(f"reset: options have both {' and '.join(given)} (index {index!r}); give one of them")
    if sample is not None and not isinstance(sample, Sample):
        raise UsageTypeError(f"reset: options['sample'] must be a Sample, not {type(sample).__name__}")
    if snapshot is not None and not isinstance(snapshot, Snapshot):
        raise UsageTypeError(f"reset: options['snapshot'] must be a Snapshot, not {type(snapshot).__name__}")
    if snapshot is not None and snapshot.trajectory is not None and snapshot.trajectory.done:
        raise UsageError("reset: the snapshot's episode has ended; give one of a state from which it goes on")
    return None if index is None else _checked_index(index, num_samples), sample, snapshot


def _checked_index(index: Any, num_samples: int) -> int:
    try:
        if isinstance(index, bool | np.bool_):
            raise TypeError
        number = operator.index(index)
    except TypeError:
        raise UsageTypeError(f"reset: index {index!r} is not an integer") from None
    if not 0 <= number < num_samples:
        raise IndexError(f"reset: index {number} is outside the data set of {num_samples} samples")
    return number
