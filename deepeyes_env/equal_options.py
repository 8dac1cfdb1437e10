"""Options with equal texts: which of them is the right one, whatever the order in which they are shown.

Nobody can tell equal options apart but by their letters, so one is known by its place among its equals: the first stays
the first when the options are shuffled, cycled or restored. ``Sample.answer`` is a text; where its file names a letter
and several options have that text, ``metadata["answer_twin"]`` says which of them is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

ANSWER_TWIN = "answer_twin"
"""Key in ``Sample.metadata``: which of the options with the answer's text is the right one, counted from 0."""


def right_options(options: Sequence[str], answer: str, metadata: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the indices of the right options: several where equal ones are and nothing says which is meant."""
    equal = _places(options, answer)
    twin = metadata.get(ANSWER_TWIN)
    if isinstance(twin, int) and not isinstance(twin, bool) and 0 <= twin < len(equal) > 1:
        return (equal[twin],)
    return equal


def twin_mark(options: Sequence[str], right: int) -> dict[str, int]:
    """Return what ``metadata`` has to say of the right option: nothing unless others have the same text."""
    equal = _places(options, options[right])
    return {ANSWER_TWIN: equal.index(right)} if len(equal) > 1 else {}


def place_in(order: Sequence[str], options: Sequence[str], index: int) -> int:
    """Return where an option of ``options`` is in another order of them."""
    return _places(order, options[index])[_places(options, options[index]).index(index)]


def _places(options: Sequence[str], text: str) -> tuple[int, ...]:
    return tuple(index for index, option in enumerate(options) if option == text)
