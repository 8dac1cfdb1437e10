"""Options of ``reset``, checked at once: a wrong one would play another question than was asked for."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from deepeyes_env.core import Sample
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.registry import unknown_name

RESET_OPTIONS = ("index", "sample")


def check_reset_options(options: Mapping[str, Any], num_samples: int) -> tuple[int | None, Sample | None]:
    """Return the index and the sample that options of ``VisualToolboxEnv.reset`` ask for; at most one is not ``None``.

    Raises:
        UnknownNameError: An unknown option.
        UsageError: Both an index and a sample are given.
        UsageTypeError: The index is no integer, or the sample no ``Sample``.
        IndexError: The index is outside the data set.
    """
    if unknown := set(options) - set(RESET_OPTIONS):
        raise unknown_name("option of reset", sorted(unknown)[0], RESET_OPTIONS)
    index, sample = options.get("index"), options.get("sample")
    if index is not None and sample is not None:
        raise UsageError(f"reset: options have both index {index!r} and a sample; give one of them")
    if sample is not None and not isinstance(sample, Sample):
        raise UsageTypeError(f"reset: options['sample'] must be a Sample, not {type(sample).__name__}")
    return None if index is None else _checked_index(index, num_samples), sample


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
