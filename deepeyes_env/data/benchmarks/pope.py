"""POPE (arXiv 2305.10355): is there such an object in the image, yes or no; three splits by how the object was chosen.

Read are:

- its own files ``coco_pope_random.json``, ``coco_pope_popular.json`` and ``coco_pope_adversarial.json`` (one JSON
  object a line, in spite of the name: ``{"question_id", "image", "text", "label"}``), one of them or a folder that
  holds any (``.jsonl`` too), with the images in ``val2014/``, ``images/``, ``coco/val2014/`` or beside them;
- VLMEvalKit's ``POPE.tsv``: ``answer`` is Yes or No, ``category`` the splits that ask the question, as
  ``adversarial,popular,random``;
- parquet as lmms-lab publishes it: ``question_id``, ``question``, ``answer``, ``image`` (bytes), ``category``.
"""

from __future__ import annotations

from collections.abc import Callable
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
    read_parquet,
    text_of,
)
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.data.vlmevalkit import TSVDataset
from deepeyes_env.errors import DataError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

FORMAT = (
    "coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json (one object a line: question_id, image, "
    "text, label), one of them or their folder, with the images in val2014/, images/ or beside them; or VLMEvalKit's "
    "POPE.tsv; or a .parquet file with question, answer, image, category"
)
POPE = "pope"
"""``Sample.data_source`` of its questions."""

SPLIT = "split"
"""Key in ``Sample.metadata``: the splits of a question."""

SPLITS = ("random", "popular", "adversarial")
IMAGE_FOLDERS = (".", "val2014", "images", "coco/val2014", "../val2014", "../images", "../coco/val2014")
INSTRUCTION = "Answer yes or no."


def open_pope(path: Path) -> Dataset:
    """Open POPE; ``metadata["split"]`` lists the splits that ask the question, ``answer`` is ``yes`` or ``no``.

    Raises:
        DataError: There is no file of any of the forms.
    """
    if path.suffix.lower() == ".tsv":
        return MappedDataset(TSVDataset(path), _normalised)
    if path.suffix.lower() == ".parquet":
        records = read_parquet(path, "image")
        check_fields(records, (("question", "text"), ("answer", "label")), FORMAT)
        return RecordDataset(records, _sample, image_column="image")
    files = _files_of(path) if path.is_dir() else [path]
    records = [record for file in files for record in read_json_records(file)]
    check_fields(records, (("text", "question"), ("label", "answer"), "image"), FORMAT)
    return RecordDataset(records, _sample)


def _files_of(folder: Path) -> list[Path]:
    """Return the files of a folder that are named like a split, at most one for each."""
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".json", ".jsonl"))
    found = {split: [file for file in files if split in file.stem] for split in SPLITS}
    for split, candidates in found.items():
        if len(candidates) > 1:
            names = ", ".join(file.name for file in candidates)
            raise DataError(f"{folder}: holds several files for the split {split}: {names}; name one file instead")
    chosen = [file for candidates in found.values() for file in candidates]
    if not chosen:
        raise DataError(f"{folder}: holds no POPE file. Expected: {FORMAT}")
    return chosen


def _sample(record: Record, stored_image: Callable[[], ImageRef]) -> Sample:
    split = record.fields.get("category") or next((split for split in SPLITS if split in record.file.stem), "")
    number = record.fields.get("question_id", record.row)
    image = record.fields.get("image")
    return _normalised(
        Sample(
            id=f"{split or record.file.stem}/{number}",
            question=text_of(record, "text", "question"),
            answer=text_of(record, "label", "answer"),
            images=(find_image(record, image, IMAGE_FOLDERS) if isinstance(image, str) else stored_image(),),
            metadata={"category": str(split)} if split else {},
        )
    )


def _normalised(sample: Sample) -> Sample:
    answer = sample.answer.strip().lower()
    if answer not in ("yes", "no"):
        raise ValueError(f"answer {quoted(sample.answer)} is neither yes nor no")
    question = sample.question.strip()
    if " yes or no" not in f" {question.lower()}":
        question = f"{question} {INSTRUCTION}"
    splits = [split for split in map(str.strip, str(sample.metadata.get("category", "")).split(",")) if split]
    metadata = {**sample.metadata, **({SPLIT: splits} if splits else {})}
    return replace(sample, question=question, answer=answer, data_source=POPE, metadata=metadata)
