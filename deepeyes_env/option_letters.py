"""The letters of options: A to Z, then AA, AB ... to ZZ."""

from __future__ import annotations

import string
from collections.abc import Sequence

from deepeyes_env.errors import UsageError

LETTERS = string.ascii_uppercase
"""The letters of the first 26 options; the next ones have two: AA, AB ..."""

_ALL_LETTERS: tuple[str, ...] = (*LETTERS, *(first + second for first in LETTERS for second in LETTERS))
_INDICES = {letter: index for index, letter in enumerate(_ALL_LETTERS)}


def option_letter(index: int) -> str:
    """Return the letter of an option: A to Z, then AA, AB ... to ZZ.

    Raises:
        UsageError: There is no letter for that index.
    """
    if not 0 <= index < len(_ALL_LETTERS):
        raise UsageError(f"option {index}: there are letters for {len(_ALL_LETTERS)} options")
    return _ALL_LETTERS[index]


def option_index(letter: str) -> int | None:
    """Return the index of the option with a letter, in either case; ``None`` for what is no letter of an option."""
    return _INDICES.get(letter.upper()) if letter.isascii() else None


def letter_options(options: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each option with its letter.

    Raises:
        UsageError: There are more options than letters.
    """
    if options:
        option_letter(len(options) - 1)  # raises where there are too many
    return list(zip(_ALL_LETTERS, options, strict=False))
