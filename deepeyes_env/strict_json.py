"""JSON as the standard has it: no NaN, no Infinity, and nothing that Python can hold and JSON cannot."""

from __future__ import annotations

import json
import math
from typing import Any

_CONTEXT = 20
"""How many characters before and after a mistake are repeated."""


def read_json(text: str) -> Any:
    """Parse JSON strictly: NaN and Infinity are refused, and so are numbers that would become infinite.

    Raises:
        ValueError: The text is not JSON; also for nesting deeper than the interpreter's limit.
    """
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def why_not_json(error: ValueError, text: str) -> str:
    """Say what keeps a text from being JSON, and where in it.

    Args:
        error: What ``read_json`` raised.
        text: The text it was given.
    """
    if not isinstance(error, json.JSONDecodeError):
        return str(error)[:200]
    if error.pos >= len(text):
        return f"{error.msg} at its end"
    before, after = text[max(0, error.pos - _CONTEXT) : error.pos], text[error.pos : error.pos + _CONTEXT]
    return f"{error.msg} at character {error.pos + 1}, between {before!r} and {after!r}"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that JSON has")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits[:40]} is too large a number")
    return number


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def plain(value: Any) -> Any:
    """Return numpy's numbers and arrays as JSON has them, and whatever JSON has not as text: for ``json.dumps``."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
