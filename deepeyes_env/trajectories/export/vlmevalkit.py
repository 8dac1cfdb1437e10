"""VLMEvalKit's result sheet: one row a question, the columns of the benchmark without ``image``, and ``prediction``.

VLMEvalKit takes the right letters from its own copy of the benchmark, by ``index``. An environment shows options in an
order of its own, so a predicted letter is translated back to the order of the benchmark, which has to be given; and a
box that is an answer from the frame of the policy to fractions of the sides of the image.

``.xlsx`` is what VLMEvalKit writes itself; it reads ``.tsv`` as well (``vlmeval/smp/file.py``).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import utf8
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.data import tsv
from deepeyes_env.data.benchmarks.pope import POPE
from deepeyes_env.data.benchmarks.refcoco import REFCOCO, split_of
from deepeyes_env.data.vlmevalkit import OPTION_LETTERS
from deepeyes_env.equal_options import place_in, right_options
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import replacing
from deepeyes_env.images.frames import BBox, to_native
from deepeyes_env.judges.boxes import read_boxes
from deepeyes_env.judges.choices import choices_of, pick
from deepeyes_env.option_letters import LETTERS

NO_ANSWER = "no answer given"
"""The prediction of an episode that ended without an answer; an empty cell would be read as the text ``nan``."""

REQUIRED = ("index", "question", "prediction")
MAX_CELL = 32_767
"""Characters that a cell of an Excel sheet can hold."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row of a sheet.

    Attributes:
        index: The row of the benchmark.
        question: The question.
        prediction: What the model answered; a letter in the order of the benchmark where it chose an option.
        others: All other cells by column: options under ``A``, ``B``, ..., ``answer``, ``category``, ...
    """

    index: str
    question: str
    prediction: str
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BenchmarkQuestion:
    """A sample as the benchmark has it, options in their own order, without its images.

    Attributes:
        id: The row's index.
        question: The question.
        answer: The right answer.
        options: The options.
        metadata: The other columns.
    """

    id: str
    question: str
    answer: str
    options: tuple[str, ...]
    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, sample: Sample) -> BenchmarkQuestion:
        """Take from a sample what a sheet needs."""
        return cls(sample.id, sample.question, sample.answer, sample.options, sample.metadata)


def prediction_of(
    trajectory: Trajectory, original: BenchmarkQuestion | None = None, row: BenchmarkQuestion | None = None
) -> Prediction:
    """Make a row of an episode.

    Args:
        trajectory: A finished episode.
        original: The question as it was played, options in the benchmark's order.
        row: The question as the benchmark's file has it; ``None`` where it is played as it is.

    Raises:
        UsageError: The sample has options and ``original`` is missing, or is another question.
    """
    shown = trajectory.sample
    if original is None:
        if shown.options:
            raise UsageError(
                f"sample {shown.id!r} has options, which were shown in an order of their own; give the data set that "
                "was played, so that predicted letters can be those of its rows"
            )
        original = BenchmarkQuestion.of(shown)
    if original.question != shown.question or sorted(original.options) != sorted(shown.options):
        raise UsageError(f"sample {shown.id!r} of the data set is not the question that was played; give that data set")
    row = row or original
    letters = _letters(row)
    others = dict(zip(letters, row.options, strict=False))
    right = right_options(row.options, row.answer, row.metadata)
    others["answer"] = letters[right[0]] if letters else _right_answer(row, shown)
    taken = {*REQUIRED, *others, "image", "system_prompt", OPTION_LETTERS}
    others |= {key: value for key, value in row.metadata.items() if isinstance(value, str) and key not in taken}
    letters = letters if len(letters) == len(original.options) else _letters(original)
    return Prediction(_index(row, shown), row.question, _predicted(trajectory, original, letters), others)


def _letters(question: BenchmarkQuestion) -> str:
    letters = str(question.metadata.get(OPTION_LETTERS, ""))
    usual = LETTERS[: len(question.options)]
    return letters if len(set(letters)) == len(usual) and set(letters) <= set(LETTERS) else usual


def _predicted(trajectory: Trajectory, original: BenchmarkQuestion, letters: str) -> str:
    answer = (trajectory.answer or "").strip()
    if not answer:
        return NO_ANSWER
    shown = trajectory.sample
    boxes = set(read_boxes(answer)) if shown.data_source == REFCOCO else set()
    if len(boxes) == 1:
        return _fractions(trajectory, boxes.pop())
    choices = choices_of(shown) if shown.options else None
    picked = pick(answer, choices, shown.question) if choices else None
    if picked is None or len(picked.indices) != 1:
        return answer
    (index,) = picked.indices
    return letters[place_in(original.options, shown.options, index)]


def _fractions(trajectory: Trajectory, written: BBox) -> str:
    """Return a box as fractions of the sides of the image: VLMEvalKit takes pixels up to 1,000 for thousandths."""
    width, height = trajectory.native_size
    box = to_native(written, trajectory.frame, trajectory.native_size, trajectory.view_size)
    fractions = (x / side for x, side in zip(box, (width, height, width, height), strict=True))
    return json.dumps([round(min(max(fraction, 0.0), 1.0), 6) for fraction in fractions])


def _index(row: BenchmarkQuestion, shown: Sample) -> str:
    """Return the index under which VLMEvalKit knows a row: with the split before it in refCOCO."""
    return f"{split_of(row.metadata)}_{row.id}" if shown.data_source == REFCOCO else row.id


def _right_answer(row: BenchmarkQuestion, shown: Sample) -> str:
    """Return the answer as VLMEvalKit's evaluator compares it, which is particular about capitals."""
    return row.answer.capitalize() if shown.data_source == POPE else row.answer


def write_vlmevalkit(predictions: Iterable[Prediction], path: Path) -> None:
    """Write a result sheet, ``.xlsx`` or ``.tsv`` by the suffix of its name.

    Indices are numbers where all of them are whole ones, as pandas reads them from the benchmark. Characters that XML
    cannot hold become ``?`` and cells are cut at 32,767 characters (with a warning) in an ``.xlsx``.

    Raises:
        UsageError: The suffix is another one.
        MissingExtraError: openpyxl is not installed, for ``.xlsx``.
    """
    rows = list(predictions)
    columns = ["index", "question", *dict.fromkeys(key for row in rows for key in row.others), "prediction"]
    options = sorted(column for column in columns if column in LETTERS)
    columns = ["index", "question", *options, *(c for c in columns[2:] if c not in options)]
    table = [[_cell(row, column) for column in columns] for row in rows]
    write = _write_xlsx if _is_xlsx(path) else _write_tsv
    with replacing(path) as temporary:
        write(temporary, columns, table)


def _cell(row: Prediction, column: str) -> str:
    own = {"index": row.index, "question": row.question, "prediction": row.prediction}
    return utf8(own[column] if column in own else row.others.get(column, ""))


def _is_xlsx(path: Path) -> bool:
    if path.suffix not in (".xlsx", ".tsv"):
        raise UsageError(f"{path}: a result sheet is an .xlsx or a .tsv file")
    return path.suffix == ".xlsx"


def _write_tsv(path: Path, columns: list[str], table: list[list[str]]) -> None:
    path.write_bytes(b"".join(map(tsv.join_record, [columns, *table])))


def _write_xlsx(path: Path, columns: list[str], table: list[list[str]]) -> None:
    openpyxl = _openpyxl()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")
    numbers = all(re.fullmatch(r"0|[1-9]\d{0,14}", row[0]) for row in table)
    sheet.append([_xlsx_cell(sheet, column, "header", column) for column in columns])
    for row in table:
        cells = [_xlsx_cell(sheet, value, row[0], column) for column, value in zip(columns, row, strict=True)]
        if numbers:
            cells[0] = int(row[0])
        sheet.append(cells)
    book.save(path)


def _xlsx_cell(sheet: Any, value: str, index: str, column: str) -> Any:
    from openpyxl.cell import WriteOnlyCell

    if not value:
        return None
    if len(value) > MAX_CELL:
        logger.warning(
            "index %s: %s cut to %d characters, an .xlsx cell's limit; a .tsv has none", index, column, MAX_CELL
        )
    cell = WriteOnlyCell(sheet, _CONTROL.sub("?", value)[:MAX_CELL])
    cell.data_type = "s"  # a text that begins with "=" would be a formula
    return cell


# --- reading ---------------------------------------------------------------------------------------------------------


def read_vlmevalkit(path: Path) -> Iterator[Prediction]:
    """Read a result sheet, ``.xlsx`` or ``.tsv``.

    Raises:
        DataError: The file is none, lacks a column, or a row is wrong; the message names row and column.
        MissingExtraError: openpyxl is not installed, for ``.xlsx``.
    """
    try:
        rows = _xlsx_rows(path) if _is_xlsx(path) else _tsv_rows(path)
        yield from _predictions(rows)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _tsv_rows(path: Path) -> Iterator[list[str]]:
    with path.open("rb") as file:
        for _, record in tsv.records(file):
            yield [cell.decode() for cell in tsv.split_record(record)]


def _xlsx_rows(path: Path) -> Iterator[list[str]]:
    openpyxl = _openpyxl()
    from zipfile import BadZipFile

    try:
        book = openpyxl.load_workbook(path, read_only=True)
    except (BadZipFile, KeyError, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise ValueError(f"is not an .xlsx file ({error})") from error
    with closing(book):
        for row in book.worksheets[0].iter_rows(values_only=True):
            yield ["" if value is None else str(value) for value in row]


def _predictions(rows: Iterator[list[str]]) -> Iterator[Prediction]:
    columns = next(rows, [])
    if missing := [column for column in REQUIRED if column not in columns]:
        raise ValueError(f"lacks the columns {', '.join(missing)}; it has {', '.join(map(repr, columns)) or 'none'}")
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) > len(columns):
            raise ValueError(f"row {number} has {len(row)} cells, the header has {len(columns)}")
        cells = dict(zip(columns, [*row, *[""] * (len(columns) - len(row))], strict=True))
        for column in REQUIRED:
            if not cells[column].strip():
                raise ValueError(f"row {number}, column {column!r}: is blank")
        if cells["index"] in seen:
            raise ValueError(f"row {number}: index {cells['index']!r} is that of row {seen[cells['index']]} already")
        seen[cells["index"]] = number
        index, question, prediction = (cells.pop(column) for column in REQUIRED)
        yield Prediction(index, question, prediction, {column: cell for column, cell in cells.items() if cell})
    if not seen:
        raise ValueError("has no rows")


def _openpyxl() -> Any:
    import_extra("openpyxl.utils.exceptions", "data")
    return import_extra("openpyxl", "data")
