"""Data sets that others made: anything with a length and rows by number, and rows that are mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from deepeyes_env.core import Sample
from deepeyes_env.data.fields import names_of
from deepeyes_env.errors import DeepEyesError, RowError
from deepeyes_env.registry import unknown_name
from deepeyes_env.telling import quoted

SAMPLE_KEYS = tuple(field.name for field in fields(Sample))
"""The keys of a row: the fields of ``Sample``."""


@runtime_checkable
class MapStyle(Protocol):
    """What PyTorch calls a map-style data set; one of Hugging Face ``datasets`` is one too."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Return one row: a ``Sample``, or a mapping with its fields."""
        ...


class MapStyleDataset:
    """A map-style data set, read one row at a time.

    A row is a ``Sample``, or a mapping with ``question``, ``answer`` and ``images`` (one image or several: PIL images,
    arrays, bytes or paths), and optionally the other fields of ``Sample``. Where they have no value they may be
    ``None``, as in tables; a row without ``id`` goes by its number.

    Args:
        source: The data set. If it has an attribute ``view``, environments show its images so.
    """

    def __init__(self, source: MapStyle) -> None:
        self.source = source
        if hasattr(source, "view"):
            self.view = source.view

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample.

        Raises:
            IndexError: There is no such row.
            RowError: It is no sample; the message says why.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a data set of {len(self)} rows")
        return sample_of(self.source[index], type(self.source).__name__, index)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def sample_of(row: object, source: str, index: int) -> Sample:
    """Return a row as a sample.

    Args:
        row: A ``Sample``, or a mapping with its fields.
        source: Names the data set in errors.
        index: Number of the row, counted from 0.

    Raises:
        RowError: It is neither, or a field of it cannot be used.
    """
    if isinstance(row, Sample):
        return row
    if not isinstance(row, Mapping):
        kind = type(row).__name__
        raise RowError(source, index, f"is {kind}, not a Sample or a mapping with question, answer and images")
    given = {key: value for key, value in row.items() if value is not None or key == "env_name"}
    try:
        _check(given)
        return Sample(**{"id": str(index), **given})
    except (DeepEyesError, TypeError, ValueError) as error:
        raise RowError(source, index, str(error)) from error


def _check(row: Mapping[Any, Any]) -> None:
    for key in row:
        if key not in SAMPLE_KEYS:
            raise unknown_name("key", str(key), SAMPLE_KEYS)
    if missing := [key for key in ("question", "answer", "images") if key not in row]:
        raise ValueError(f"has no {', '.join(missing)}; it has {names_of(row)}")
    for key in ("id", "question", "answer"):
        if not isinstance(row.get(key, ""), str):
            raise ValueError(f"{key!r} must be text, not {quoted(row[key])}")
