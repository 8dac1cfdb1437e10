"""Facts that stand in no image: towns and the patterns on their signs, as documents for a text search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.files import replacing

FIRST = (
    "Bel",
    "Cor",
    "Dal",
    "Fen",
    "Gar",
    "Hol",
    "Kes",
    "Lam",
    "Mor",
    "Nor",
    "Pel",
    "Quin",
    "Ros",
    "Sal",
    "Tor",
    "Win",
)
SECOND = (
    "bury", "cot", "dene", "field", "ham", "ley", "mere", "mont",
    "ness", "port", "ridge", "stead", "thorpe", "ton", "vale", "wick",
)  # fmt: skip
"""The beginnings and the ends of names."""

FILE = "towns.jsonl"


def town_names(parity: int) -> Sequence[str]:
    """Return the names of half of the towns; the two halves have no town in common.

    Args:
        parity: 0 or 1.
    """
    return [
        first + second
        for row, first in enumerate(FIRST)
        for column, second in enumerate(SECOND)
        if (row + column) % 2 == parity
    ]


def sign_of(town: str) -> str:
    """Return the pattern on the sign of a town, one of ``TEXTURES``."""
    return Random(f"the sign of {town}").choice(TEXTURES)


def write_facts(folder: str | Path) -> Path:
    """Write the documents about all towns, for ``SearchTool(folder)`` or the variable ``DEEPEYES_SEARCH``.

    Args:
        folder: It is made if need be; the file ``towns.jsonl`` in it is replaced.

    Returns:
        The file.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"title": town, "text": f"{town}: {sign_of(town)}"} for parity in (0, 1) for town in town_names(parity)]
    with replacing(path) as beside:
        beside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
