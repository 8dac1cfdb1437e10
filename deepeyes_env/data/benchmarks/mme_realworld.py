"""MME-RealWorld and MME-RealWorld-Lite (arXiv 2408.13257): multiple choice on large photographs, five options.

Read are:

- its own JSON: an array of ``{"Question_id", "Image", "Text", "Answer choices": ["(A) ...", ...], "Ground truth": "A",
  "Category", "Subtask", "Task"}``, with the images in ``data/imgs/``, ``imgs/``, ``images/``, ``data/`` or beside it;
- VLMEvalKit's TSV (``MME-RealWorld-Lite.tsv``), which has no columns ``A`` to ``E`` but one named
  ``multi-choice options``: a list of ``(A) ...`` as Python writes it, as published, or a line for each; and
  ``category`` as ``Task/Subtask`` beside ``l2-category``.

``metadata["subtask"]`` is ``Task/Subtask``: perception and reasoning have subtasks of the same names, and are reported
apart.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks.records import (
    MappedDataset,
    Record,
    RecordDataset,
    check_fields,
    find_image,
    read_json_records,
    text_of,
)
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.data.fields import names_of, texts_in
from deepeyes_env.data.vlmevalkit import TSVDataset
from deepeyes_env.equal_options import twin_mark
from deepeyes_env.errors import DataError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

FORMAT = (
    "MME-RealWorld-Lite.json (Question_id, Image, Text, Answer choices, Ground truth) with its images in data/imgs/, "
    "imgs/ or beside it; or VLMEvalKit's MME-RealWorld-Lite.tsv (with the column 'multi-choice options')"
)
OPTIONS_COLUMN = "multi-choice options"
MAX_OPTIONS_TEXT = 1_000_000
"""Characters of a list of options that are parsed at most."""

IMAGE_FOLDERS = (".", "imgs", "data/imgs", "images", "data", "../imgs", "../data/imgs")

_NAMES = {"Category": "category", "Subtask": "subtask", "Task": "task"}
_OPTION = re.compile(r"\s*\(?([A-Z])[).:]\s*(.*)", re.DOTALL)
_OPTION_LINE = re.compile(r"^\s*\(?([A-Z])[).]\s*", re.MULTILINE)


def open_mme_realworld(path: Path) -> Dataset:
    """Open MME-RealWorld's JSON or TSV.

    ``metadata`` holds ``category``, ``subtask`` and ``task`` as far as the file has them.

    Raises:
        DataError: The file is of neither form.
    """
    if path.suffix.lower() == ".tsv":
        dataset = TSVDataset(path)
        if OPTIONS_COLUMN not in dataset.columns and "A" not in dataset.columns:
            raise DataError(
                f"{path}: lacks the column {OPTIONS_COLUMN!r} (and A, B, ...); it has {names_of(dataset.columns)}"
            )
        return MappedDataset(dataset, _with_options)
    records = read_json_records(path)
    check_fields(records, ("Text", "Answer choices", "Ground truth", ("Image", "image")), FORMAT)
    return RecordDataset(records, _sample)


def _sample(record: Record, stored_image: Callable[[], ImageRef]) -> Sample:
    choices = record.fields.get("Answer choices")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ValueError(f"'Answer choices' must be a list of texts, not {quoted(choices)}")
    options = _options(choices)
    metadata = {ours: record.fields[theirs] for theirs, ours in _NAMES.items() if record.fields.get(theirs)}
    if {"task", "subtask"} <= metadata.keys():
        metadata["subtask"] = f"{metadata['task']}/{metadata['subtask']}"
    right = _right(text_of(record, "Ground truth"), options)
    texts = tuple(options.values())
    return Sample(
        id=text_of(record, "Question_id", "question_id") if _has_id(record) else f"{record.file.stem}:{record.row}",
        question=text_of(record, "Text"),
        answer=texts[right],
        images=(find_image(record, text_of(record, "Image", "image"), IMAGE_FOLDERS),),
        options=texts,
        data_source="mme_realworld",
        metadata=metadata | twin_mark(texts, right),
    )


def _has_id(record: Record) -> bool:
    return "Question_id" in record.fields or "question_id" in record.fields


def _with_options(sample: Sample) -> Sample:
    """Move the options of a TSV row from their column into the sample."""
    metadata = dict(sample.metadata)
    listed = metadata.pop(OPTIONS_COLUMN, "")
    task, slash, _ = str(metadata.get("category", "")).partition("/")
    if slash:
        metadata.update(task=task, subtask=metadata["category"])
    if "l2-category" in metadata:
        metadata["category"] = metadata.pop("l2-category")
    if sample.options:
        return replace(sample, metadata=metadata)
    options = _options(_listed_options(listed))
    right = _right(sample.answer, options)
    texts = tuple(options.values())
    return replace(
        sample,
        answer=texts[right],
        options=texts,
        data_source="mme_realworld",
        metadata=metadata | twin_mark(texts, right),
    )


def _listed_options(cell: str) -> Iterable[str]:
    if cell.lstrip().startswith("["):
        return texts_in(cell[:MAX_OPTIONS_TEXT], OPTIONS_COLUMN)  # one that is longer is no list any more
    starts = list(_OPTION_LINE.finditer(cell))
    bounds = [*(start.start() for start in starts), len(cell)]
    return (cell[start:end] for start, end in itertools.pairwise(bounds))


def _options(listed: Iterable[str]) -> dict[str, str]:
    """Return the options by letter."""
    options: dict[str, str] = {}
    for item in listed:
        match = _OPTION.fullmatch(item)
        if match is None or not match[2].strip():
            raise ValueError(f"option {quoted(item)} is not written as '(A) text'")
        options[match[1]] = match[2].strip()
    return options


def _right(letter: str, options: dict[str, str]) -> int:
    """Return the index of the option with a letter."""
    if letter.strip() not in options:
        there = ", ".join(options) or "none"
        raise ValueError(f"answer {quoted(letter)} is not the letter of an option; there are {there}")
    return list(options).index(letter.strip())
