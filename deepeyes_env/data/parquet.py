"""Parquet in the format of DeepEyes-Datasets-47k: read and written one row group at a time."""

from __future__ import annotations

import bisect
import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepeyes_env.core import Sample
from deepeyes_env.data.parquet_schema import COLUMNS, arrow_schema, check_schema, row_of_sample, sample_of_row
from deepeyes_env.data.rows import OnError, RowDataset, checked_samples
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import replacing
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.telling import quoted

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

BLOCK_BYTES = 32 << 20
"""About how much of a row group is decoded at a time: all of it if it is smaller."""

CACHED_BLOCKS = 4
"""How many decoded blocks a data set keeps."""

LARGE_ROW_GROUP_BYTES = 1 << 30
"""Row groups above this are worth a warning: to read a row, all those before it in its group are decoded."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _RowGroup:
    file: int
    number: int
    start: int  # row number in the data set
    start_in_file: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    start: int
    data: pyarrow.RecordBatch


@dataclass(slots=True)
class _Cursor:
    """Reads one row group from front to back."""

    group: _RowGroup
    batches: Iterator[pyarrow.RecordBatch]
    position: int


class ParquetDataset(RowDataset):
    """Samples of a parquet file, or of a folder of parquet files in the order of their names.

    At most ``CACHED_BLOCKS`` decoded blocks are in memory, each a row group or, where that is larger than
    ``BLOCK_BYTES``, a part of it; beyond that only the file's index. Reading goes on from where it stopped, so that
    going through the rows in order decodes each once. A random row costs its row group: files of one huge row group
    (pandas writes such) are read, but slowly, and a warning says so; rewrite them with ``write_parquet``.
    Threads may share a data set (they take turns), and processes may: a pickle holds the index, not the open files.

    Args:
        source: A ``.parquet`` file, or a folder of them.
        on_error: What to do about a bad row; see ``RowDataset``.
        image_root: One more folder in which images that have a path may lie; see ``ImageFolder``.

    Raises:
        DataError: A file cannot be read as parquet, or lacks a column; the message lists those it has.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self, source: str | Path, *, on_error: OnError = "raise", image_root: str | Path | None = None
    ) -> None:
        self.source = Path(source)
        self._images = ImageFolder(self.source if self.source.is_dir() else self.source.parent, image_root)
        self._files = tuple(sorted(self.source.glob("*.parquet"))) if self.source.is_dir() else (self.source,)
        if not self._files:
            raise DataError(f"{source}: the folder holds no .parquet file")
        self._metadata = tuple(map(_read_metadata, self._files))
        self._groups = tuple(_row_groups(self._metadata))
        self._starts = [group.start for group in self._groups]
        self._reset()
        self._warn_of_large_groups()
        self._select_rows(sum(group.rows for group in self._groups), on_error)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._blocks: deque[_Block] = deque(maxlen=CACHED_BLOCKS)
        self._cursor: _Cursor | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_blocks", "_cursor")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __repr__(self) -> str:
        return f"ParquetDataset({str(self.source)!r})"

    def _warn_of_large_groups(self) -> None:
        largest = max(self._groups, key=lambda group: group.bytes, default=None)
        if largest and largest.bytes > LARGE_ROW_GROUP_BYTES:
            file = self._files[largest.file]
            logger.warning(
                "%s has a row group of %.1f GB; random access to it is slow. Rewrite it once: "
                "deepeyes_env.data.write_parquet(deepeyes_env.data.load(%r), 'new.parquet')",
                *(file, largest.bytes / 1e9, str(file)),
            )

    def _group_of(self, row: int) -> _RowGroup:
        return self._groups[bisect.bisect_right(self._starts, row) - 1]

    def _locate(self, row: int) -> tuple[Path, int]:
        group = self._group_of(row)
        return self._files[group.file], row - group.start + group.start_in_file

    def _read(self, row: int) -> Sample:
        file, number = self._locate(row)
        with self._lock:
            block = self._block_of(row)
        record = block.data.slice(row - block.start, 1).to_pylist()[0]
        return sample_of_row(record, default_id=f"{file.stem}:{number}", images=self._images)

    def _block_of(self, row: int) -> _Block:
        for block in self._blocks:
            if block.start <= row < block.start + block.data.num_rows:
                self._blocks.remove(block)
                self._blocks.append(block)  # the least recently used is the first to go
                return block
        group = self._group_of(row)
        if self._cursor is None or self._cursor.group != group or self._cursor.position > row:
            self._cursor = None  # lets go of its buffers before new ones are made
            self._cursor = self._open(group)
        try:
            block = _advance(self._cursor, row)
        except _arrow_errors() as error:
            self._cursor = None
            raise UsageError(f"row group {group.number} cannot be read: {error}") from error
        self._blocks.append(block)
        return block

    def _open(self, group: _RowGroup) -> _Cursor:
        pq = import_extra("pyarrow.parquet", "data")
        metadata = self._metadata[group.file]
        columns = [column for column in COLUMNS if column in metadata.schema.to_arrow_schema().names]
        rows = max(1, min(group.rows, BLOCK_BYTES * group.rows // max(1, group.bytes)))
        # Without pre_buffer and with a buffer, pages are read one by one instead of the whole row group.
        file = pq.ParquetFile(self._files[group.file], metadata=metadata, pre_buffer=False, buffer_size=1 << 20)
        batches = file.iter_batches(rows, row_groups=[group.number], columns=columns, use_threads=False)
        return _Cursor(group, batches, group.start)


def _advance(cursor: _Cursor, row: int) -> _Block:
    for data in cursor.batches:
        block = _Block(cursor.position, data)
        cursor.position += data.num_rows
        if row < cursor.position:
            return block
    raise UsageError(f"row group {cursor.group.number} ends early")


def _arrow_errors() -> tuple[type[Exception], ...]:
    import pyarrow

    return (pyarrow.ArrowException, OSError)


def _read_metadata(path: Path) -> pyarrow.parquet.FileMetaData:
    pq = import_extra("pyarrow.parquet", "data")
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except _arrow_errors() as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    try:
        check_schema(schema)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return metadata


def _row_groups(metadata: Iterable[pyarrow.parquet.FileMetaData]) -> Iterator[_RowGroup]:
    start = 0
    for file, meta in enumerate(metadata):
        start_in_file = 0
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            if group.num_rows:
                yield _RowGroup(file, number, start, start_in_file, group.num_rows, group.total_byte_size)
            start += group.num_rows
            start_in_file += group.num_rows


def write_parquet(samples: Iterable[Sample], path: str | Path, *, row_group_size: int = 64) -> None:
    """Write samples to a parquet file in the format of DeepEyes-Datasets-47k.

    Only one row group is in memory at a time; one is closed early when it holds ``BLOCK_BYTES`` of images. Encoded
    images keep their bytes; pixels and recipes become PNG; of slides and documents the path is written.
    The file appears whole or not at all.

    Args:
        samples: The samples; an iterator will do.
        path: The file to write.
        row_group_size: Rows in a row group. Reading a random row costs reading its group.

    Raises:
        UsageError: ``row_group_size`` is less than 1.
        DataError: A sample cannot be written: see ``checked_samples``; or its metadata
            is not JSON, or an image cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    if row_group_size < 1:
        raise UsageError(f"row_group_size={row_group_size}: must be at least 1")
    pq = import_extra("pyarrow.parquet", "data")
    import pyarrow as pa

    schema = arrow_schema()
    with (
        replacing(Path(path)) as temporary,
        # Pages are cut only between write batches: small ones keep the pages of large images small.
        pq.ParquetWriter(temporary, schema, use_dictionary=_DICTIONARY_COLUMNS, write_batch_size=4) as writer,
    ):
        for rows in _grouped(checked_samples(samples), row_group_size, Path(path).parent):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=row_group_size)


_DICTIONARY_COLUMNS = ["data_source", "ability", "env_name", "prompt.list.element.content", "reward_model.style"]


def _grouped(samples: Iterable[Sample], size: int, folder: Path) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    held = 0
    for index, sample in enumerate(samples):
        try:
            row = row_of_sample(sample, index, folder)
        except (TypeError, ValueError, OSError) as error:
            raise DataError(f"cannot write sample {quoted(sample.id)}: {error}") from error
        rows.append(row)
        held += sum(len(image["bytes"] or b"") for image in row["images"])
        if len(rows) == size or held >= BLOCK_BYTES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows
