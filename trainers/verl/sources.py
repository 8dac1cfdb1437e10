"""sources: the data sets of a run by the text that names them, opened once in each process.

A row of verl carries the name of its data set and its number there, and no pixels: whoever plays it reads it itself.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.data import Dataset, load
from deepeyes_env.data.dataset import BUILT_IN
from deepeyes_env.errors import DataError

SETTINGS = ".json"
"""Ending of a file that holds the settings of the built-in task."""


@lru_cache(maxsize=16)
def open_source(name: str) -> Dataset:
    """Return the data set of a name: whatever ``load`` takes, or a ``.json`` file with settings of the built-in task.

    Raises:
        DataError: There is no such data set, or it cannot be read.
        UsageError: The file has an unknown setting.
    """
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
    return name if name in BUILT_IN else str(Path(name).expanduser().absolute())


def seed_of(seed: int, index: int) -> int:
    """Return the seed of the environment for a row: equal for all rollouts of it, and in every epoch."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
