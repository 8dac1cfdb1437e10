"""MathVista (arXiv 2310.02255): mathematics on figures, free-form or multiple choice.

Read are:

- parquet (``testmini-00000-of-00001-....parquet``): ``pid``, ``question``, ``decoded_image`` (bytes), ``choices``,
  ``unit``, ``precision``, ``answer``, ``question_type`` (``multi_choice``, ``free_form``), ``answer_type`` (``text``,
  ``integer``, ``float``, ``list``), ``metadata`` (``task``, ``skills``, ``category``, ``context``, ``grade``,
  ``source``, ...);
- JSON (``testmini.json``): an object of such objects by ``pid``, with ``image`` as ``images/1.jpg``;
- VLMEvalKit's ``MathVista_MINI.tsv``: the same as columns, ``choices`` and ``skills`` as Python lists.

The ``query`` with MathVista's own hints is not used, and what VLMEvalKit's questions hold of it is cut off: the options
are shuffled and listed by the environment, and ``HINTS`` says which kind of number is wanted. The test split has no
answers and cannot be scored.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks.records import (
    MappedDataset,
    Record,
    RecordDataset,
    check_fields,
    find_image,
    read_json_records,
    read_parquet,
    text_of,
)
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.data.fields import names_of
from deepeyes_env.data.vlmevalkit import TSVDataset
from deepeyes_env.errors import DataError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

FORMAT = (
    "MathVista's testmini .parquet or testmini.json (pid, question, choices, answer, question_type, answer_type, "
    "precision, unit, metadata; with its images/ folder beside it), or VLMEvalKit's MathVista_MINI.tsv"
)
IMAGE_FOLDERS = (".", "..", "data")
HINTS: Mapping[str, str] = {
    "integer": "Answer with a whole number.",
    "float": "Answer with a number with {places} decimal places.",
    "list": "Answer with a list, such as [1, 2, 3].",
}
_FIELDS = ("question", "answer", "question_type", "answer_type")
_HINTED = re.compile(r"\s*Hint:.*?\nQuestion:\s*(.*?)(?:\s*\nChoices:.*)?\s*", re.DOTALL)


def open_mathvista(path: Path) -> Dataset:
    """Open MathVista; ``metadata`` holds ``answer_type`` and ``precision``, by which numbers are judged, and the rest.

    Raises:
        DataError: The file is of none of the forms.
    """
    if path.suffix.lower() == ".tsv":
        dataset = TSVDataset(path)
        missing = [name for name in ("question_type", "answer_type", "choices") if name not in dataset.columns]
        if missing:
            raise DataError(f"{path}: lacks the columns {', '.join(missing)}; it has {names_of(dataset.columns)}")
        return MappedDataset(dataset, _of_row)
    if path.suffix.lower() == ".parquet":
        records = read_parquet(path, "decoded_image")
        check_fields(records, _FIELDS, FORMAT)
        return RecordDataset(records, _sample, image_column="decoded_image")
    records = read_json_records(path)
    check_fields(records, (*_FIELDS, "image"), FORMAT)
    return RecordDataset(records, _sample)


def _sample(record: Record, stored_image: Callable[[], ImageRef]) -> Sample:
    fields = record.fields
    in_parquet = record.file.suffix.lower() == ".parquet"
    image = stored_image() if in_parquet else find_image(record, text_of(record, "image"), IMAGE_FOLDERS)
    nested = fields.get("metadata")
    metadata = {
        **(nested if isinstance(nested, Mapping) else {}),
        **{name: fields.get(name) for name in ("question_type", "answer_type", "precision", "unit")},
    }
    choices = fields.get("choices") or []
    answer = text_of(record, "answer")
    if not answer.strip():
        raise ValueError("has no answer; MathVista's test split has none, take testmini")
    plain = Sample(
        id=text_of(record, "pid", "key") if "pid" in fields or "key" in fields else str(record.row),
        question=text_of(record, "question"),
        answer=answer,
        images=(image,),
        metadata=metadata,
    )
    return _finished(plain, choices)


def _of_row(sample: Sample) -> Sample:
    """Read the columns of a TSV row."""
    metadata = dict(sample.metadata)
    choices = _list(metadata.pop("choices", "[]"), "choices")
    metadata.pop("answer_option", None)
    if "skills" in metadata:
        metadata["skills"] = _list(metadata["skills"], "skills")
    if "precision" in metadata:
        metadata["precision"] = float(metadata["precision"])
    hinted = _HINTED.fullmatch(sample.question)
    return _finished(
        replace(sample, question=hinted[1] if hinted else sample.question, metadata=metadata, options=()),
        choices or list(sample.options),
    )


def _list(cell: str, column: str) -> list[str]:
    try:
        value = ast.literal_eval(cell) if cell.startswith("[") else [cell]
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"column {column!r} holds {quoted(cell)}, which is no list") from error
    return [str(item) for item in value]


def _finished(sample: Sample, choices: list[str]) -> Sample:
    metadata = {key: value for key, value in sample.metadata.items() if not _blank(value)}
    kind = str(metadata.get("answer_type", ""))
    if "precision" in metadata:
        metadata["precision"] = int(metadata["precision"])
    question = sample.question.strip()
    if unit := metadata.get("unit"):
        question += f" (Unit: {unit})"
    multiple = metadata.get("question_type") == "multi_choice"
    options = tuple(choices) if multiple else ()
    if multiple and not options:
        raise ValueError("is a multi_choice question without 'choices'")
    if not multiple and kind in HINTS and (kind != "float" or "precision" in metadata):
        question += "\n" + HINTS[kind].format(places=metadata.get("precision"))
    return replace(sample, question=question, options=options, data_source="mathvista", metadata=metadata)


def _blank(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
