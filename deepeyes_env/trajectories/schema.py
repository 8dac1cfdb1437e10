"""The JSON form of a trajectory: the dataclasses of ``deepeyes_env.core``, field by field.

A line of ``trajectories.jsonl`` is one object: ``version`` and the fields of ``Trajectory``; nested dataclasses are
objects, tuples are arrays, an image is the path of its file relative to the run folder. Text is escaped to ASCII, so
that any string a policy can write (lone surrogates, null bytes) survives; a high surrogate directly before a low one
comes back as the character that the two mean. Numbers that JSON lacks are written ``NaN`` and ``Infinity``.

Both directions are driven by the dataclasses' own fields and type hints: a new field needs no change here. A field that
is absent takes its default; one that is unknown is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.errors import RecordError, UsageTypeError
from deepeyes_env.images.ref import ImageRef

VERSION = 1
T = TypeVar("T")

_MAX_DEPTH = 64
_MAX_INT_BITS = 8192  # well under the 4,300 digits that Python agrees to parse
_UNWRITABLE = {"unwritable": "arguments nested too deeply, or with too long a number, to be recorded"}


def dump(trajectory: Trajectory, name_image: Callable[[ImageRef], str]) -> str:
    """Return a trajectory as one line of ASCII JSON, without the line feed.

    Arguments of a tool call that are nested more than 64 levels deep are replaced by a note: a policy can write them
    and no later reader is sure to parse them. The turn's ``action`` still holds what the policy wrote.

    Args:
        trajectory: The trajectory.
        name_image: Stores an image and returns its path relative to the run folder.

    Raises:
        UsageTypeError: ``metadata`` holds something that JSON cannot; the message names the sample.
    """

    def default(value: Any) -> Any:
        if isinstance(value, ImageRef):
            return name_image(value)
        if isinstance(value, ToolCall):
            arguments = value.arguments if _is_tame(value.arguments) else _UNWRITABLE
            return {"name": value.name, "arguments": arguments, "id": value.id}
        if is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in fields(value)}
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} {value!r:.100} is not JSON: use text, numbers, lists and mappings")

    record = {"version": VERSION} | default(trajectory)
    try:
        return json.dumps(record, default=default)
    except (TypeError, RecursionError) as error:
        raise UsageTypeError(f"the trajectory of sample {trajectory.sample.id!r} cannot be written: {error}") from error


def load(line: bytes, open_image: Callable[[str], ImageRef]) -> Trajectory:
    """Return the trajectory that ``dump`` wrote.

    Args:
        line: One line of JSON.
        open_image: Makes a reference from an image's path relative to the run folder.

    Raises:
        RecordError: The line is not JSON, has another version, or has a field that does not fit; the message says
            which field and why.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"not JSON ({error})") from error
    version = record.get("version") if isinstance(record, dict) else None
    if version is None:
        raise RecordError(f"has no version, so it is no trajectory: {record!r:.60}")
    if version != VERSION:
        raise RecordError(f"version is {version!r}; this release of deepeyes_env reads version {VERSION}")
    trajectory: Trajectory = _Decoder(open_image).decode(record, Trajectory, ())
    return trajectory


def from_fields(record: Any, kind: type[T]) -> T:
    """Return the dataclass that an object of parsed JSON stands for; it holds plain values, and no images.

    Raises:
        RecordError: ``record`` is no object, or a field is missing or does not fit; the message names it.
    """
    made: T = _Decoder(_refuse_image).decode(record, kind, ())
    return made


def _refuse_image(name: str) -> ImageRef:
    raise RecordError(f"no image can stand here, and {name!r} does")


def _is_tame(arguments: Mapping[str, Any]) -> bool:
    layer: list[Any] = [arguments]
    for _ in range(_MAX_DEPTH):
        if any(isinstance(value, int) and value.bit_length() > _MAX_INT_BITS for value in layer):
            return False
        parents = [value for value in layer if isinstance(value, Mapping | list | tuple)]
        layer = [child for parent in parents for child in (parent.values() if isinstance(parent, Mapping) else parent)]
        if not layer:
            return True
    return False


class _Decoder:
    """Builds dataclasses from parsed JSON by their type hints; ``where`` is the path of fields, for errors."""

    def __init__(self, open_image: Callable[[str], ImageRef]) -> None:
        self._open_image = open_image

    def decode(self, value: Any, kind: Any, where: tuple[Any, ...]) -> Any:
        """Return a value of a kind, which is a type hint.

        Raises:
            RecordError: It is of another kind.
        """
        if kind is Any:
            return value
        origin = get_origin(kind)
        if origin in (UnionType, Union):
            return None if value is None else self.decode(value, get_args(kind)[0], where)
        if origin is Literal:
            return value if value in get_args(kind) else _refuse(value, f"one of {get_args(kind)}", where)
        if origin is tuple:
            return self._tuple(value, get_args(kind), where)
        if origin is Mapping:
            _check(value, dict, where)
            return {key: self.decode(item, get_args(kind)[1], (*where, key)) for key, item in value.items()}
        if is_dataclass(kind):
            return self._dataclass(value, kind, where)
        if kind is ImageRef:
            try:
                return self._open_image(_check(value, str, where))
            except ValueError as error:
                raise RecordError(f"{_path(where)}: {error}") from error
        return _check(value, kind, where)

    def _tuple(self, value: Any, kinds: tuple[Any, ...], where: tuple[Any, ...]) -> tuple[Any, ...]:
        _check(value, list, where)
        if kinds[-1] is Ellipsis:
            if kinds[0] in (int, float) and set(map(type, value)) <= {kinds[0]}:
                return tuple(value)  # token ids and log-probabilities: many, and nothing to build
            kinds = (kinds[0],) * len(value)
        if len(value) != len(kinds):
            _refuse(value, f"a list of {len(kinds)}", where)
        return tuple(
            self.decode(item, kind, (*where, i)) for i, (item, kind) in enumerate(zip(value, kinds, strict=True))
        )

    def _dataclass(self, value: Any, kind: Any, where: tuple[Any, ...]) -> Any:
        _check(value, dict, where)
        hints = _hints(kind)
        for field in fields(kind):
            if field.name not in value and field.default is MISSING and field.default_factory is MISSING:
                raise RecordError(f"{_path((*where, field.name))} is missing")
        known = {name: self.decode(value[name], hint, (*where, name)) for name, hint in hints.items() if name in value}
        try:
            return kind(**known)
        except ValueError as error:
            raise RecordError(f"{_path(where)}: {error}") from error


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _check(value: Any, kind: type[Any], where: tuple[Any, ...]) -> Any:
    if type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    return _refuse(value, kind.__name__, where)


def _refuse(value: Any, wanted: str, where: tuple[Any, ...]) -> Any:
    raise RecordError(f"{_path(where)} is {value!r:.60}; expected {wanted}")


def _path(where: tuple[Any, ...]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).lstrip(".") or "the record"
