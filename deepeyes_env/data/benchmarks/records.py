"""Records of JSON and parquet files as samples: what the readers of benchmark formats share."""

from __future__ import annotations

import bisect
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from deepeyes_env.core import Sample
from deepeyes_env.data.fields import names_of
from deepeyes_env.data.rows import RowDataset
from deepeyes_env.errors import DataError, ImageError
from deepeyes_env.extras import import_extra
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

CACHED_ROW_GROUPS = 2
"""Row groups of a parquet file whose images are kept; each holds about a hundred of them in published files."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file.

    Attributes:
        file: The file.
        row: Its number in the file, from 0.
        fields: Its fields, without images that are stored in the file.
        part: Which of several questions that one row holds, from 0.
    """

    file: Path
    row: int
    fields: Mapping[str, Any]
    part: int = 0


ReadRecord: TypeAlias = Callable[[Record, Callable[[], ImageRef]], Sample]
"""Makes a sample of a record; the second argument gives the image that is stored with it in a parquet file."""


class RecordDataset(RowDataset):
    """Samples of the records of JSON or parquet files. The text is held in memory, the images are not.

    Args:
        records: The records.
        read: Makes a sample of one; a module's function, for the sake of pickling.
        image_column: Column of the parquet files that holds images as ``{bytes, path}``.
    """

    def __init__(self, records: Iterable[Record], read: ReadRecord, image_column: str = "") -> None:
        self._records = tuple(records)
        self._read_record = read
        self._images: dict[Path, _ParquetImages] = {}
        if image_column:
            self._images = {
                file: _ParquetImages(file, image_column)
                for file in dict.fromkeys(record.file for record in self._records)
                if file.suffix.lower() == ".parquet"
            }
        self._select_rows(len(self._records), "raise")

    def __repr__(self) -> str:
        return f"RecordDataset({', '.join(dict.fromkeys(str(record.file) for record in self._records))})"

    def _locate(self, row: int) -> tuple[Path, int]:
        record = self._records[row]
        return record.file, record.row

    def _read(self, row: int) -> Sample:
        record = self._records[row]

        def stored_image() -> ImageRef:
            if record.file not in self._images:
                raise ValueError(f"has no image; it has {names_of(record.fields)}")
            return self._images[record.file].image(record.row)

        return self._read_record(record, stored_image)


class MappedDataset:
    """A data set whose samples are those of another, changed on the way.

    Args:
        dataset: The other.
        change: Makes the new sample; a ``ValueError`` from it becomes a ``DataError`` that names the sample, but for
            an ``ImageError``, which names the image.
    """

    def __init__(self, dataset: Any, change: Callable[[Sample], Sample]) -> None:
        self.dataset = dataset
        self.view: Any = getattr(dataset, "view", None)
        self._change = change

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return self._changed(self.dataset[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._changed, self.dataset)

    def _changed(self, sample: Sample) -> Sample:
        try:
            return self._change(sample)
        except (DataError, ImageError):
            raise
        except ValueError as error:
            raise DataError(f"{self.dataset!r}, sample {quoted(sample.id)}: {error}") from error


def read_json_records(path: Path) -> list[Record]:
    """Read a file that is a JSON array, an object of objects (its keys become ``"key"``), or one object a line.

    Raises:
        DataError: The file cannot be read, is none of these, or holds no records.
    """
    records = _read_json(path)
    if not records:
        raise DataError(f"{path}: holds no records")
    return records


def _read_json(path: Path) -> list[Record]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # Not splitlines(): JSON may hold U+2028 and the like as they are.
        return [Record(path, row, _line(path, row, line)) for row, line in enumerate(text.split("\n")) if line.strip()]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [Record(path, row, item) for row, item in enumerate(value)]
    if isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
        return [Record(path, row, {"key": key, **item}) for row, (key, item) in enumerate(value.items())]
    if isinstance(value, dict) and value:
        return [Record(path, 0, value)]
    raise DataError(f"{path}: must hold an array of objects, an object of objects, or one object a line")


def _line(path: Path, row: int, line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: line {row + 1} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: line {row + 1} must be a JSON object, not {type(value).__name__}")
    return value


def read_parquet(path: Path, image_column: str) -> list[Record]:
    """Read all columns of a parquet file but the one with images.

    Raises:
        DataError: The file cannot be read, holds no rows, or lacks the column of images; the message lists those that
            it has.
        MissingExtraError: pyarrow is not installed.
    """
    pq = import_extra("pyarrow.parquet", "data")
    import pyarrow

    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if image_column not in names:
            raise DataError(f"{path}: lacks the column {image_column}; it has {names_of(names)}")
        rows = file.read(columns=[name for name in names if name != image_column]).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no rows")
    return [Record(path, row, fields) for row, fields in enumerate(rows)]


class _ParquetImages:
    """Images of one column of a parquet file, a row group at a time."""

    def __init__(self, path: Path, column: str) -> None:
        self._path, self._column = path, column
        metadata = import_extra("pyarrow.parquet", "data").read_metadata(path)
        sizes = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self._starts = [0, *itertools.accumulate(sizes)][:-1]
        self._make_cache()

    def _make_cache(self) -> None:
        self._lock = threading.Lock()
        self._images_of = lru_cache(maxsize=CACHED_ROW_GROUPS)(self._read_group)

    def image(self, row: int) -> ImageRef:
        """Return the image of a row."""
        group = bisect.bisect_right(self._starts, row) - 1
        with self._lock:
            cell = self._images_of(group)[row - self._starts[group]]
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes) or not data:
            raise ValueError(f"column {self._column!r} holds no image bytes")
        return ImageRef(data, name=f"of row {row} of {self._path}")

    def _read_group(self, group: int) -> Sequence[Any]:
        pq = import_extra("pyarrow.parquet", "data")
        import pyarrow

        try:
            table = pq.ParquetFile(self._path).read_row_group(group, columns=[self._column])
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"row group {group} cannot be read: {error}") from error
        images: list[Any] = table.column(0).to_pylist()
        return images

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_images_of")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_cache()


def check_fields(records: Sequence[Record], fields: Sequence[str | tuple[str, ...]], format: str) -> None:
    """Check that the first record of each file has some fields; a tuple names alternatives.

    Raises:
        DataError: It lacks one; the message says which it has and what format is expected.
    """
    for record in {record.file: record for record in reversed(records)}.values():
        for field in fields:
            names = (field,) if isinstance(field, str) else field
            if not any(name in record.fields for name in names):
                raise DataError(
                    f"{record.file}: has no {' or '.join(map(repr, names))}; it has "
                    f"{names_of(record.fields)}. Expected: {format}"
                )


def text_of(record: Record, *names: str) -> str:
    """Return the first of some fields that a record has, as text; numbers become text.

    Raises:
        ValueError: It has none of them, or the value is neither text nor a number.
    """
    for name in names:
        if name in record.fields and record.fields[name] is not None:
            value = record.fields[name]
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError(f"{name!r} must be text, not {quoted(value)}")
            return str(value)
    raise ValueError(f"has no {' or '.join(map(repr, names))}; it has {names_of(record.fields)}")


def find_image(record: Record, name: str, folders: Sequence[str]) -> ImageRef:
    """Return the image file that a record names.

    Args:
        record: The record.
        name: The name as written: a file name, or a path of which the end counts if nothing lies at the whole.
        folders: Where to look, relative to the record's file.

    Raises:
        ValueError: It is in none of them; the message lists them. Nothing outside of them is opened.
    """
    base = record.file.parent
    parts = Path(name).parts
    ends = [Path(*parts[i:]) for i in range(len(parts))] if parts else []
    if Path(name).is_absolute():
        ends[0] = Path(name)
    for end in ends:
        for folder in folders:
            images = ImageFolder(base / folder)
            if (path := images.folder / end).is_file() and images.holds(path):
                return ImageRef(path)
    places = ", ".join(str((base / folder).resolve()) for folder in folders)
    raise ValueError(f"there is no image {quoted(name)}; put it into one of: {places}")


def exploded(records: Sequence[Record], field: str) -> list[Record]:
    """Make one record of each item of a field that is a list."""
    found = []
    for record in records:
        value = record.fields.get(field)
        items = value if isinstance(value, list) else [value]
        found += [replace(record, part=part, fields={**record.fields, field: item}) for part, item in enumerate(items)]
    return found
