"""Reading other people's JSON: values fetched with their type checked, and errors that say where they are."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deepeyes_env.errors import DataError
from deepeyes_env.strict_json import read_json
from deepeyes_env.telling import MOST_QUOTED, quoted

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
                    record = parse_object(line)
                except ValueError as error:
                    raise DataError(f"{where}: {error}") from error
                found = True
                yield where, record
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not found:
        raise DataError(f"{path}: is empty")


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
        raise ValueError(f"{where or 'it'} must be an object, not {quoted(record)}")
    if key not in record:
        raise ValueError(f"{where or 'it'} has no {key!r}; it has {names_of(record)}")
    return checked(record[key], kind, f"{where}.{key}" if where else key)


def checked(value: Any, kind: type[T], where: str) -> T:
    """Return a value of a kind.

    Raises:
        ValueError: It is of another kind.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} must be {_NAMES[kind]}, not {quoted(value)}")
    return value


def read_tools(value: Any, where: str) -> tuple[dict[str, Any], ...]:
    """Check a list of OpenAI-style tool schemas.

    Raises:
        ValueError: It is not one.
    """
    tools = checked(value, list, where)
    for i, tool in enumerate(tools):
        if get(tool, "type", str, f"{where}[{i}]") != "function":
            raise ValueError(f"{where}[{i}].type must be 'function', not {quoted(tool['type'])}")
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
        raise ValueError(f"{where} is not JSON ({error}): {quoted(text)}") from error


def texts_in(text: str, where: str) -> list[str]:
    """Read a list of texts as JSON or as Python writes it; nothing is evaluated.

    Raises:
        ValueError: It is no such list.
    """
    try:
        try:
            value = read_json(text)
        except ValueError:
            value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} must be a list of texts, not {quoted(text)}")
    return value


def names_of(record: Iterable[Any]) -> str:
    """Return the keys of an object or the columns of a table, as an error lists them: some of them if they are many."""
    names = list(record)
    listed, length = [], 0
    for name in names:
        listed.append(quoted(name))
        length += len(listed[-1])
        if length > 3 * MOST_QUOTED:
            break
    more = len(names) - len(listed)
    return (", ".join(listed) or "nothing") + (f" and {more} more" if more else "")


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: The bytes are not UTF-8, not JSON, or not an object.
    """
    try:
        value = read_json(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"must be a JSON object, not {type(value).__name__}")
    return value


def text_field(record: Mapping[str, Any], key: str) -> str:
    """Return the text under ``key``.

    Raises:
        ValueError: There is no such key, or its value is not text.
    """
    if key not in record:
        raise ValueError(f"has no {key!r}; it has {names_of(record)}")
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be text, not {quoted(value)}")
    return value


def text_list_field(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return the list of texts under ``key``; empty if there is no such key.

    Raises:
        ValueError: The value is not a list of texts.
    """
    value = record.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key!r} must be a list of texts, not {quoted(value)}")
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
        raise ValueError(f"{key!r} must be a list of boxes, each a list of four numbers, not {quoted(value)}")
    return tuple(value)


def index_list_field(record: dict[str, Any], key: str) -> tuple[int, ...]:
    """Return the list of indices under ``key``; empty if there is no such key.

    Raises:
        ValueError: The value is not a list of whole numbers.
    """
    value = record.get(key, [])
    if not isinstance(value, list) or not all(type(index) is int for index in value):
        raise ValueError(f"{key!r} must be a list of indices from 0, not {quoted(value)}")
    return tuple(value)
