"""Questions that want a search, in the form of MMSearch (arXiv 2409.12959): JSON lines with an image and short answers.

A line is an object with ``question`` (or ``query``), ``image`` (or ``image_path``, ``query_image``) and ``answer`` (or
``gt_answer``). Other answers that are as right stand in ``golden_answers`` (or ``alternative_gt_answers``). If you
like, ``id`` (``sample_id``), ``index`` (the key in a cache of image searches), ``area`` and ``subfield``. An image is a
path, below the file's folder or in ``images/``, a ``file://`` URL there, or a data URL; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepeyes_env.core import ACCEPTED, Sample
from deepeyes_env.data.benchmarks.records import (
    Record,
    RecordDataset,
    check_fields,
    find_image,
    read_json_records,
    text_of,
)
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

FORMAT = (
    "a .jsonl file, one object a line: question (or query), image (a path, a file:// or a data URL; or query_image), "
    "answer (or gt_answer), and if you like golden_answers (or alternative_gt_answers), id, index, area, subfield"
)
MMSEARCH = "mmsearch"
"""``Sample.data_source`` of its questions."""

IMAGE_FOLDERS = (".", "images")
_IMAGE = ("image", "image_path", "query_image")
_GOLDEN = ("golden_answers", "alternative_gt_answers")
_KEPT = ("index", "area", "subfield")


def open_mmsearch(path: Path) -> Dataset:
    """Open a file of questions; ``metadata["accepted_answers"]`` are the answers that are as right as ``answer``.

    Raises:
        DataError: The file has another form.
    """
    records = read_json_records(path)
    check_fields(records, (("question", "query"), _IMAGE, ("answer", "gt_answer")), FORMAT)
    return RecordDataset(records, _sample)


def _sample(record: Record, stored_image: Callable[[], ImageRef]) -> Sample:
    answer = text_of(record, "answer", "gt_answer")
    metadata: dict[str, Any] = {name: record.fields[name] for name in _KEPT if record.fields.get(name) is not None}
    others = [each for each in _golden(record) if each != answer]
    number = record.fields.get("id", record.fields.get("sample_id", record.row))
    return Sample(
        id=f"{record.file.stem}/{number}",
        question=text_of(record, "question", "query").strip(),
        answer=answer,
        images=(_image(record),),
        data_source=MMSEARCH,
        metadata=metadata | ({ACCEPTED: others} if others else {}),
    )


def _golden(record: Record) -> list[str]:
    for name in _GOLDEN:
        given = record.fields.get(name)
        if given is not None:
            if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
                raise ValueError(f"{name!r} must be a list of texts, not {quoted(given)}")
            return list(dict.fromkeys(each for each in given if each.strip()))
    return []


def _image(record: Record) -> ImageRef:
    name = text_of(record, *_IMAGE)
    if "://" in name or name[:5].lower() == "data:":
        return ImageFolder(record.file.parent).image(name)
    return find_image(record, name, IMAGE_FOLDERS)
