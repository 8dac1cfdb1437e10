"""JSON as the standard has it: no NaN, no Infinity, and nothing that Python can hold and JSON cannot."""

from __future__ import annotations

import json
import math
from typing import Any


def read_json(text: str) -> Any:
    """Parse JSON strictly: NaN and Infinity are refused, and so are numbers that would become infinite.

    Raises:
        ValueError: The text is not JSON; also for nesting deeper than the interpreter's limit.
    """
    try:
        return _STRICT.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


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
