"""Rows of files as samples: checked when read, named in errors, left out and counted on request."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from deepeyes_env.core import Sample
from deepeyes_env.errors import DataError, RowError, UnknownNameError, UsageError
from deepeyes_env.images.frames import is_finite_box
from deepeyes_env.telling import quoted
from deepeyes_env.toolbox_registry import TOOLBOXES

OnError: TypeAlias = Literal["raise", "skip"]
"""What to do about a bad row: raise when it is read, or leave it out of the data set."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that ``on_error="skip"`` left out.

    Attributes:
        file: The file.
        row: The row in it, counted from 0 without a header line.
        reason: What is wrong with it.
    """

    file: str
    row: int
    reason: str


class RowDataset(ABC):
    """A data set whose samples are rows of files; the base of the file loaders.

    A row is checked whenever it is read: its structure, its text, its toolbox, and the header of each of its images.
    Pixels are decoded later, by whoever needs them. With ``on_error="skip"`` the constructor reads every row once, in
    file order and one at a time: that costs one pass over the whole file, images included, and leaves the bad rows out.

    Attributes:
        skipped: The rows left out; empty with ``on_error="raise"``.
    """

    skipped: tuple[SkippedRow, ...] = ()
    _rows: Sequence[int]

    @abstractmethod
    def _read(self, row: int) -> Sample:
        """Read one row; raises ``ValueError`` or ``OSError`` with the reason if it is bad."""

    @abstractmethod
    def _locate(self, row: int) -> tuple[Path, int]:
        """Return the file that holds ``row`` and the row's number in it."""

    def _select_rows(self, count: int, on_error: OnError) -> None:
        """Decide which of ``count`` rows belong to the data set; the last thing a constructor calls."""
        if on_error not in get_args(OnError):
            raise UsageError(f"on_error={on_error!r}: must be one of {', '.join(map(repr, get_args(OnError)))}")
        self._rows = range(count)
        if on_error == "skip":
            self._skip_bad_rows(count)

    def _skip_bad_rows(self, count: int) -> None:
        good, bad = array("q"), []
        for row in range(count):
            try:
                self._checked(row)
            except RowError as error:
                bad.append(SkippedRow(error.file, error.row, error.reason))
            else:
                good.append(row)
        self._rows, self.skipped = good, tuple(bad)
        if bad:
            logger.warning("left out %d of %d rows of %s: %s", len(bad), count, self, _summary(bad))

    def _checked(self, row: int) -> Sample:
        try:
            sample = self._read(row)
            check_sample(sample)
            check_env_name(sample.env_name)
            for image in sample.images:
                _ = image.size
        except (ValueError, OSError) as error:
            file, number = self._locate(row)
            raise RowError(str(file), number, str(error)) from error
        return sample

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            IndexError: There is no such sample.
            RowError: The row is bad; the cause is kept.
        """
        return self._checked(self._rows[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._checked, self._rows)


def _summary(skipped: Sequence[SkippedRow], most: int = 10) -> str:
    # Quoted values, lists and numbers differ from row to row: masked, equal kinds of reason count together.
    masked = re.compile(r"\[.*\]|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+", re.DOTALL)
    kinds = [masked.sub("…", row.reason) for row in skipped]
    counts = Counter(kinds).most_common()
    parts = [f"{n} x {kind if n > 1 else skipped[kinds.index(kind)].reason}" for kind, n in counts[:most]]
    if len(counts) > most:
        parts.append(f"and {len(counts) - most} other reasons")
    return "; ".join(parts)


def check_sample(sample: Sample) -> None:
    """Check what ``Sample`` leaves open but no file should hold.

    Raises:
        ValueError: The question or the answer is blank; a text is not valid Unicode; a box is not finite.
    """
    for name in ("id", "question", "answer"):
        if not getattr(sample, name).strip():
            raise ValueError(f"{name} is blank")
    told = (text for message in sample.messages for text in (message.role, message.content))
    names = (sample.id, sample.question, sample.answer, sample.data_source, sample.env_name or "")
    for text in (*names, *sample.options, *told):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"text {quoted(text)} holds a lone surrogate, which is not a Unicode character") from error
    for box in sample.boxes:
        if not is_finite_box(box):
            raise ValueError(f"box {list(box)} is not finite")


def check_env_name(env_name: str | None) -> None:
    """Check that a row's toolbox is known here, so that the row can be played.

    Raises:
        UsageError: It is not; the message has the nearest name.
    """
    try:
        if env_name:
            TOOLBOXES.get(env_name)
    except UnknownNameError as error:
        raise UsageError(f"env_name: {error}; register it (--plugin) before the data is read") from error


def checked_samples(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Yield samples on their way to a file.

    Raises:
        DataError: A sample could not be read back: a blank or invalid text, a box that is not finite, an id twice.
    """
    seen = set()
    for sample in samples:
        try:
            check_sample(sample)
            if sample.id in seen:
                raise ValueError("another sample has the same id")
        except ValueError as error:
            raise DataError(f"cannot write sample {quoted(sample.id)}: {error}") from error
        seen.add(sample.id)
        yield sample
