"""Fields of a parsed record: fetched with their type checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: The bytes are not UTF-8, not JSON, or not an object.
    """
    try:
        value = json.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("is not usable JSON: nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, not {type(value).__name__}")
    return value


def text_field(record: Mapping[str, Any], key: str) -> str:
    """Return the text under ``key``.

    Raises:
        ValueError: There is no such key, or its value is not text.
    """
    if key not in record:
        raise ValueError(f"has no {key!r}; it has {sorted(record)}")
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be text, not {value!r}")
    return value


def text_list_field(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the list of texts under ``key``; empty if there is no such key.

    Raises:
        ValueError: The value is not a list of texts.
    """
    value = record.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key!r} must be a list of texts, not {value!r}")
    return tuple(value)


def box_list_field(record: dict[str, Any], key: str) -> tuple[Any, ...]:
    """Return the list of boxes under ``key``, their numbers unchecked; empty if there is no such key.

    Raises:
        ValueError: The value is not a list of lists of numbers.
    """
    value = record.get(key, [])
    if not isinstance(value, list) or not all(
        isinstance(box, list) and all(isinstance(x, int | float) and not isinstance(x, bool) for x in box)
        for box in value
    ):
        raise ValueError(f"{key!r} must be a list of boxes, each a list of four numbers, not {value!r}")
    return tuple(value)
