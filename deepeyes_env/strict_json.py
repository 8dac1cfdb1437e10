"""JSON as the standard has it: no NaN, no Infinity, and nothing that Python can hold and JSON cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 64
"""How many levels of arrays and objects a call may have: all readers of a record can parse as many."""

_MAX_DIGITS = 4000  # Python agrees to parse 4,300
_MAX_INT_BITS = 14_000  # a little more than that
_SCALARS = frozenset({str, float, bool, type(None)})
_CONTAINERS, _KEYED = (list, dict, tuple, Mapping), (dict, Mapping)
_TOO_DEEP = f"nested too deeply: more than {MAX_DEPTH} levels"

_CONTEXT = 20
"""How many characters before and after a mistake are repeated."""


def read_json(text: str) -> Any:
    """Parse JSON strictly: NaN and Infinity are refused, and so are numbers that would become infinite.

    Raises:
        ValueError: The text is not JSON, or is nested more than ``MAX_DEPTH`` levels deep.
    """
    try:
        value = _decoded(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # Each level takes two signs at least.
    harmless = len(text) <= 2 * MAX_DEPTH or (
        len(text) < _MAX_DIGITS and text.count("[") + text.count("{") <= MAX_DEPTH
    )
    if not harmless and not is_recordable(value):
        raise ValueError(f"{_TOO_DEEP}, or a number of thousands of digits")
    return value


def _decoded(text: str) -> Any:
    """Do what the decoder's own ``decode`` does, which looks for blanks around a value before it reads it."""
    try:
        value, end = _STRICT.raw_decode(text)
    except json.JSONDecodeError:
        end = -1
    return value if end == len(text) else _STRICT.decode(text)


def as_json(value: Any) -> Any:
    """Return a value of Python as it comes back from JSON, numpy's numbers and arrays as JSON has them.

    Raises:
        ValueError: JSON cannot hold it: it contains itself, a key is no text, a number too long, the nesting too deep.
    """
    try:
        return read_json(json.dumps(value, default=plain))
    except (TypeError, RecursionError) as error:
        raise ValueError(_TOO_DEEP if isinstance(error, RecursionError) else str(error)) from None


def is_recordable(value: Any) -> bool:
    """Whether a value of JSON can be written and is sure to be read again: nested ``MAX_DEPTH`` levels deep at most.

    A level is an array or an object. Keys are text, and numbers are not longer than Python agrees to parse.
    """
    layer = [value]
    for level in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for node in layer:
            kind = type(node)
            if kind is int:
                if node.bit_length() > _MAX_INT_BITS:
                    return False
            elif kind not in _SCALARS and isinstance(node, _CONTAINERS):
                if level == MAX_DEPTH:
                    return False
                if not isinstance(node, _KEYED):
                    below.extend(node)
                    continue
                for key in node:
                    if not isinstance(key, str):
                        return False
                below.extend(node.values())
        if not below:
            return True
        layer = below
    return True


def why_not_json(error: ValueError, text: str) -> str:
    """Say what keeps a text from being JSON, and where in it.

    Args:
        error: What ``read_json`` raised.
        text: The text it was given.
    """
    if not isinstance(error, json.JSONDecodeError):
        return str(error)[:200]
    if error.pos >= len(text) or error.msg.startswith("Unterminated"):
        return f"{error.msg.removesuffix(' starting at')} at its end"
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
