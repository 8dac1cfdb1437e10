"""Reading other people's JSON: values fetched with their type checked, and errors that say where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deepeyes_env.core import DataError
from deepeyes_env.protocols.scan import read_json

T = TypeVar("T")
_NAMES = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each line of a JSONL file as an object, with the words that say where it is.

    Raises:
        DataError: The file cannot be read, is empty, or has a line that is not an object; the message names the line.
    """
    found = False
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path}, line {number}"
                try:
                    record = _object(line)
                except ValueError as error:
                    raise DataError(f"{where}: {error}") from error
                found = True
                yield where, record
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not found:
        raise DataError(f"{path}: is empty")


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = read_json(line.decode())
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, not {type(value).__name__}")
    return value


def get(record: Any, key: str, kind: type[T], where: str) -> T:
    """Return the value under ``key`` of an object.

    Args:
        record: What should be an object.
        key: The key.
        kind: ``str``, ``list``, ``dict`` or ``int``.
        where: Where the object is, for errors; empty for the whole line.

    Raises:
        ValueError: ``record`` is no object, lacks the key, or has another kind of value there.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"{where or 'it'} must be an object, not {_short(record)}")
    if key not in record:
        raise ValueError(f"{where or 'it'} has no {key!r}; it has {', '.join(map(repr, record)) or 'nothing'}")
    return checked(record[key], kind, f"{where}.{key}" if where else key)


def checked(value: Any, kind: type[T], where: str) -> T:
    """Return a value of a kind.

    Raises:
        ValueError: It is of another kind.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} must be {_NAMES[kind]}, not {_short(value)}")
    return value


def read_tools(value: Any, where: str) -> tuple[dict[str, Any], ...]:
    """Check a list of OpenAI-style tool schemas.

    Raises:
        ValueError: It is not one.
    """
    tools = checked(value, list, where)
    for i, tool in enumerate(tools):
        if get(tool, "type", str, f"{where}[{i}]") != "function":
            raise ValueError(f"{where}[{i}].type must be 'function', not {_short(tool['type'])}")
        function = get(tool, "function", dict, f"{where}[{i}]")
        get(function, "name", str, f"{where}[{i}].function")
    return tuple(tools)


def from_json(text: str, where: str) -> Any:
    """Parse JSON inside a text.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return read_json(text)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error}): {_short(text)}") from error


def _short(value: Any) -> str:
    return f"{value!r:.60}"
