"""What to say of a name that nobody has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint for an error message: the nearest known name, if one is near, and all of them.

    Args:
        name: What was asked for.
        known: The names that there are.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(names)}"
