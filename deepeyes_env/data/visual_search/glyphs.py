"""Letters as bitmaps of 5 x 7 cells, so that a scene needs no font."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GLYPH_WIDTH, GLYPH_HEIGHT = 5, 7

_ROWS = {
    "H": "#...# #...# #...# ##### #...# #...# #...#",
    "K": "#...# #..#. #.#.. ##... #.#.. #..#. #...#",
    "L": "#.... #.... #.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #.#.# #...# #...# #...#",
    "N": "#...# ##..# ##..# #.#.# #..## #..## #...#",
    "P": "####. #...# #...# ####. #.... #.... #....",
    "R": "####. #...# #...# ####. #.#.. #..#. #...#",
    "T": "##### ..#.. ..#.. ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# #...# #...# .###.",
    "X": "#...# #...# .#.#. ..#.. .#.#. #...# #...#",
    "Y": "#...# #...# .#.#. ..#.. ..#.. ..#.. ..#..",
    "Z": "##### ....# ...#. ..#.. .#... #.... #####",
}

MARK_LETTERS = tuple(_ROWS)
"""Letters that a mark can show. None of A to F: as an answer those could also mean the choice with that letter."""


def glyph(letter: str) -> NDArray[np.bool_]:
    """Return the bitmap of one of ``MARK_LETTERS``: ``(7, 5)``, true where there is ink."""
    return np.array([[cell == "#" for cell in row] for row in _ROWS[letter].split()])
