"""sources: the data sets of a run by the text that names them, opened once in each process.

A row of verl carries the name of its data set and its number there, and no pixels: whoever plays it reads it itself.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from deepeyes_env.data import Dataset, load
from deepeyes_env.data.dataset import BUILT_IN
from deepeyes_env.errors import DataError, UsageError

SETTINGS = ".json"
"""Ending of a file that holds the settings of the built-in task."""

_CHOICES = ("split", "seed", "length")


@lru_cache(maxsize=16)
def open_source(name: str) -> Dataset:
    """Return the data set of a name.

    Args:
        name: Whatever ``load`` takes; a built-in task with the scenes that are wanted of it, as in
            ``pattern_search#split=test&seed=3&length=128``; or a ``.json`` file with settings of the built-in task.

    Raises:
        DataError: There is no such data set, or it cannot be read.
        UsageError: The file has an unknown setting, or the scenes are not chosen by split, seed and length.
    """
    task, _, choice = name.partition("#")
    if task in BUILT_IN:
        return load(task, **_chosen(task, choice))
    path = Path(name)
    if path.suffix != SETTINGS:
        return load(name)
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: no settings of the built-in task ({error})") from error
    return load(settings)


def absolute(name: str) -> str:
    """Return a name that means the same in every process of a run, wherever it works."""
    return name if name.partition("#")[0] in BUILT_IN else str(Path(name).expanduser().absolute())


def drawn_by(seed: int, name: str) -> str:
    """Return a name with the seed that scenes are drawn by, where it is a built-in task's and says no other.

    Raises:
        UsageError: The scenes are not chosen by split, seed and length.
    """
    task, _, choice = name.partition("#")
    return f"{task}#{urlencode({'seed': seed, **_chosen(task, choice)})}" if task in BUILT_IN else name


def _chosen(task: str, choice: str) -> dict[str, Any]:
    """Read which scenes of a built-in task are wanted."""
    try:
        chosen: dict[str, Any] = dict(parse_qsl(choice, strict_parsing=bool(choice)))
        if not chosen.keys() <= set(_CHOICES):
            raise ValueError
        return {key: value if key == "split" else int(value) for key, value in chosen.items()}
    except ValueError as error:
        raise UsageError(
            f"{task}#{choice}: scenes are chosen as in #split=test&seed=3&length=128, parts of it left out"
        ) from error


def seed_of(seed: int, index: int) -> int:
    """Return the seed of the environment for a row: equal for all rollouts of it, and in every epoch."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
