"""VLMEvalKit TSV: one question a row, images in base64 (github.com/open-compass/VLMEvalKit; V*, HR-Bench and more).

Columns: ``index``, ``image`` (base64, a list of base64 strings, or the index of another row that has the image),
``question``, ``answer``, options under single letters ``A`` to ``Z``, and any others (``category``, ``hint``, ...).
"""

from __future__ import annotations

import base64
import codecs
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data import tsv
from deepeyes_env.data.fields import names_of, texts_in
from deepeyes_env.data.rows import OnError, RowDataset, checked_samples
from deepeyes_env.equal_options import right_options, twin_mark
from deepeyes_env.errors import DataError, UsageTypeError
from deepeyes_env.files import replacing
from deepeyes_env.images.files import encoded_image
from deepeyes_env.images.names import image_base64, named_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.option_letters import LETTERS
from deepeyes_env.telling import quoted

REQUIRED_COLUMNS = ("index", "image", "question", "answer")

MAX_INDEX_LENGTH = 64
"""An image cell of at most this many characters is the index of another row; VLMEvalKit draws the line there too."""

OPTION_LETTERS = "option_letters"
"""Key in ``Sample.metadata``: the letters of the options in their file, where those have gaps."""

CACHED_IMAGES = 16
"""Rows whose decoded image bytes are kept, for the questions that share them."""


class TSVDataset(RowDataset):
    """Samples of a VLMEvalKit TSV, read one row at a time; the file may be larger than memory.

    Opening the file reads it once and keeps 16 bytes and the index of each row. The sample id is the ``index`` cell,
    ``data_source`` the file's stem, and ``metadata`` holds the non-blank cells of all other columns, as text. An
    option whose cell is blank is left out, and if others follow it, ``metadata["option_letters"]`` holds the letters of
    those that are there; unlike in pandas, ``None``, ``NA`` and the like are ordinary text. Where options have equal
    texts, ``metadata["answer_twin"]`` says which of those with the answer's text has its letter.

    Args:
        path: The file, UTF-8.
        on_error: What to do about a bad row; see ``RowDataset``.

    Raises:
        DataError: The file cannot be read, or lacks a column; the message lists those it has.
    """

    def __init__(self, path: str | Path, *, on_error: OnError = "raise") -> None:
        self.path = Path(path)
        self._offsets, self._lengths = array("q"), array("q")
        self._row_of_index: dict[str, int] = {}
        try:
            self._scan()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error
        self._make_caches()
        self._select_rows(len(self._offsets), on_error)

    def _scan(self) -> None:
        with self.path.open("rb") as file:
            if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                file.seek(0)
            found = tsv.records(file)
            _, header = next(found, (0, b""))
            self.columns = tuple(cell.decode() for cell in tsv.split_record(header))
            _check_columns(self.columns)
            at = self.columns.index("index")
            for row, (offset, record) in enumerate(found):
                self._offsets.append(offset)
                self._lengths.append(len(record))
                # A cheap split is right up to the index unless a quote comes before it.
                cells = record.split(b"\t", at + 1)
                cells = _split_or_nothing(record) if any(b'"' in cell for cell in cells[: at + 1]) else cells
                if len(cells) > at:
                    self._row_of_index.setdefault(cells[at].decode(errors="replace"), row)

    def _make_caches(self) -> None:
        self._images_of = lru_cache(maxsize=CACHED_IMAGES)(self._decode_images)
        # A row and its image are asked for one after the other: the record, megabytes long, is read once for both.
        self._cells = lru_cache(maxsize=1)(self._read_cells)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_images_of", "_cells")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_caches()

    def __repr__(self) -> str:
        return f"TSVDataset({str(self.path)!r})"

    def _locate(self, row: int) -> tuple[Path, int]:
        return self.path, row

    def _read_cells(self, row: int) -> dict[str, bytes]:
        with self.path.open("rb") as file:
            file.seek(self._offsets[row])
            cells = tsv.split_record(file.read(self._lengths[row]))
        if len(cells) != len(self.columns):
            raise ValueError(f"has {len(cells)} cells, the header has {len(self.columns)} columns")
        return dict(zip(self.columns, cells, strict=True))

    def _read(self, row: int) -> Sample:
        cells = self._cells(row)
        image = cells["image"].strip()
        text = {column: _decoded(column, cell) for column, cell in cells.items() if column != "image"}
        index = text.pop("index")
        if (first := self._row_of_index[index]) != row:
            raise ValueError(f"index {quoted(index)} is that of row {first} already")
        options = {letter: text.pop(letter) for letter in LETTERS if letter in text}
        options = {letter: option for letter, option in options.items() if option.strip()}
        letters = "".join(options)
        texts, answer = tuple(options.values()), text.pop("answer")
        marks: dict[str, Any] = {} if LETTERS.startswith(letters) else {OPTION_LETTERS: letters}
        if texts:
            right = _right_option(answer, letters)
            answer, marks = texts[right], marks | twin_mark(texts, right)
        return Sample(
            id=index,
            question=text.pop("question"),
            answer=answer,
            images=self._images_of(self._row_with_image(row, image)),
            options=texts,
            data_source=self.path.stem,
            metadata={column: cell for column, cell in text.items() if cell.strip()} | marks,
        )

    def _row_with_image(self, row: int, cell: bytes) -> int:
        if len(cell) > MAX_INDEX_LENGTH:
            return row
        index = _decoded("image", cell)
        if not index.strip():
            raise ValueError("has no image")
        if index not in self._row_of_index:
            raise ValueError(f"image {quoted(index)} is neither base64 nor the index of a row")
        return self._row_of_index[index]

    def _decode_images(self, row: int) -> tuple[ImageRef, ...]:
        cells = self._cells(row)
        cell, index = cells["image"].strip(), _decoded("index", cells["index"])
        if len(cell) <= MAX_INDEX_LENGTH:
            raise ValueError(f"the row with index {quoted(index)}, to which image refers, holds no image itself")
        encoded = _image_list(cell) if cell.startswith(b"[") else [cell]
        return tuple(ImageRef(_image_bytes(item), name=f"of sample {quoted(index)}") for item in encoded)


def _check_columns(columns: Sequence[str]) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise ValueError(f"lacks the columns {', '.join(missing)}; it has {names_of(columns)}")
    if len(set(columns)) != len(columns):
        twice = sorted({column for column in columns if columns.count(column) > 1})
        raise ValueError(f"has the columns {', '.join(twice)} more than once")


def _split_or_nothing(record: bytes) -> list[bytes]:
    try:
        return tsv.split_record(record)
    except ValueError:  # raised again, with the row, when the row is read
        return []


def _decoded(column: str, cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"column {quoted(column)} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _right_option(answer: str, letters: str) -> int:
    """Return the index of the option that the answer's letter names."""
    letter = answer.strip()
    if len(letter) != 1 or letter not in letters:
        raise ValueError(f"answer {quoted(answer)} is not the letter of an option; the row has {', '.join(letters)}")
    return letters.index(letter)


def _image_list(cell: bytes) -> list[bytes]:
    text = _decoded("image", cell)
    try:
        items = texts_in(text, "image")
    except ValueError as error:
        raise ValueError(f"image {quoted(text)} is not a list of base64 strings") from error
    if not items:
        raise ValueError(f"image {quoted(text)} is not a list of base64 strings")
    return [item.encode() for item in items]


def _image_bytes(encoded: bytes) -> bytes:
    if encoded[:5].lower() == b"data:":
        held = named_image(_decoded("image", encoded))
        if isinstance(held, bytes):
            return held
    return image_base64(encoded)


def write_tsv(samples: Iterable[Sample], path: str | Path) -> None:
    """Write samples as a VLMEvalKit TSV; encoded images keep their bytes, pixels and recipes become PNG.

    Goes through the samples twice, first for the columns. An image used again is written as the index of the first row
    that has it. Where several options have the answer's text and nothing says which is right, it is the first of them.
    The format holds id, question, options, answer, images and those values of ``metadata`` that are text; boxes,
    ``env_name`` and ``data_source`` have no place in it. The file appears whole or not at all.

    Raises:
        UsageTypeError: ``samples`` is an iterator, which cannot be gone through twice.
        DataError: A sample cannot be written: see ``checked_samples``; or it has a
            blank option or more than 26 of them, or its image cannot be read.
    """
    if isinstance(samples, Iterator):
        raise UsageTypeError(f"write_tsv goes through the samples twice; give a list, not {type(samples).__name__}")
    path = Path(path)
    letters, extras = _columns(samples)
    row_of_image: dict[str, str] = {}
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(tsv.join_record([*REQUIRED_COLUMNS, *letters, *extras]))
        for sample in checked_samples(samples):
            try:
                _check_writable(sample)
                right = right_options(sample.options, sample.answer, sample.metadata)
                answer = letters[right[0]] if right else sample.answer
                options = [*sample.options, *[""] * (len(letters) - len(sample.options))]
                extra = [_extra_text(sample, key) for key in extras]
                image = _image_cell(sample, row_of_image)
                file.write(tsv.join_record([sample.id, image, sample.question, answer, *options, *extra]))
            except (ValueError, OSError) as error:
                raise DataError(f"cannot write sample {quoted(sample.id)} to {path}: {error}") from error


def _columns(samples: Iterable[Sample]) -> tuple[str, list[str]]:
    most = 0
    extras: dict[str, None] = {}
    for sample in samples:
        most = max(most, len(sample.options))
        extras.update((key, None) for key, value in sample.metadata.items() if isinstance(value, str))
    taken = {*REQUIRED_COLUMNS, *LETTERS, OPTION_LETTERS}
    return LETTERS[:most], [key for key in extras if key not in taken]


def _extra_text(sample: Sample, key: str) -> str:
    value = sample.metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _check_writable(sample: Sample) -> None:
    if len(sample.options) > len(LETTERS):
        raise ValueError(f"has {len(sample.options)} options, there are {len(LETTERS)} letters")
    if not all(map(str.strip, sample.options)):
        raise ValueError(f"has a blank option: {quoted(list(sample.options))}")


def _image_cell(sample: Sample, row_of_image: dict[str, str]) -> str:
    if len(sample.images) > 1:
        return json.dumps([base64.b64encode(encoded_image(image)).decode() for image in sample.images])
    digest = sample.images[0].digest
    if digest in row_of_image:
        return row_of_image[digest]
    cell = base64.b64encode(encoded_image(sample.images[0])).decode()
    if len(cell) <= MAX_INDEX_LENGTH:
        raise ValueError("the image is so small that its base64 reads as an index; encode it as PNG")
    if len(sample.id.encode()) <= MAX_INDEX_LENGTH:
        row_of_image[digest] = sample.id
    return cell
