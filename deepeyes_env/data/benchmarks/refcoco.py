"""refCOCO, refCOCO+ and refCOCOg (arXiv 1608.00272): find the object that an expression describes; answer with a box.

Read are:

- one JSON object a line, as Qwen-VL and InternVL distribute it (``refcoco_val.jsonl``, ``refcoco+_testA.jsonl``, ...):
  ``{"image": "data/coco/train2014/COCO_train2014_....jpg", "sent": "far left vase", "bbox": [x1, y1, x2, y2],
  "height", "width"}``;
- a JSON array, as MiniGPT-v2 and XTuner do: ``{"img_id": "COCO_train2014_...", "sents": "...", "bbox": [x, y, w, h],
  "height", "width"}``;
- parquet, as lmms-lab does: ``image`` (bytes), ``answer`` (a list of expressions; each becomes a sample), ``bbox`` as
  ``[x, y, w, h]``;
- VLMEvalKit's ``RefCOCO.tsv``: as published, ``answer`` holds four fractions of the sides; with ``bbox_x1`` to
  ``bbox_y2`` pixels, with ``bbox_x1_norm`` to ``bbox_y2_norm`` fractions; ``split`` or ``category``.

Which form a file has is told by its keys, but for ``answer`` in a TSV: numbers of at most 1.5 are fractions there, and
others pixels, as for VLMEvalKit. Images are looked for in ``train2014/``,
``coco/train2014/``, ``images/`` and beside the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks.records import (
    MappedDataset,
    Record,
    RecordDataset,
    check_fields,
    exploded,
    find_image,
    read_json_records,
    read_parquet,
    text_of,
)
from deepeyes_env.data.benchmarks.transforms import box_text
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.data.vlmevalkit import TSVDataset
from deepeyes_env.errors import DataError
from deepeyes_env.images.frames import BBox, Frame, Size, to_native
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.telling import quoted

REFCOCO = "refcoco"
"""``Sample.data_source`` of expressions: their answer is a box, which the policy writes in its own frame."""

FORMAT = (
    "refcoco_val.jsonl and the like (image, sent, bbox [x1, y1, x2, y2]), a .json array (img_id, sents, bbox "
    "[x, y, w, h]) or a .parquet file (image, answer, bbox [x, y, w, h]), with COCO's images in train2014/, "
    "coco/train2014/, images/ or beside it; or VLMEvalKit's RefCOCO.tsv (bbox_x1 to bbox_y2, or answer)"
)
IMAGE_FOLDERS = (
    *(".", "train2014", "coco/train2014", "images", "images/train2014"),
    *("..", "../coco/train2014", "../coco", "../images", "../train2014"),
)
MAX_FRACTION = 1.5
"""VLMEvalKit reads four numbers of at most this as fractions of the sides of the image."""

_CORNERS = ("x1", "y1", "x2", "y2")
_ASKS_FOR_BOX = re.compile(r"bounding box|bbox|coordinates", re.IGNORECASE)


def split_of(metadata: Mapping[str, Any]) -> str:
    """Return the split of an expression as VLMEvalKit names it: ``RefCOCO_testA`` for ``RefCOCO testA``."""
    name, _, rest = str(metadata.get("category", "")).strip().partition(" ")
    plain = re.sub(r"[\s_-]+", "", rest.lower())
    ending = {"val": "val", "test": "test", "testa": "testA", "testb": "testB"}.get(plain)
    ending = re.sub(r"[ -]", "_", rest.strip()) if ending is None else ending
    return f"{name}_{ending}" if ending else name or "RefCOCO"


def question_of(expression: str) -> str:
    """Return the question for an expression.

    It names no units: a policy writes boxes in its own coordinate frame, here as in its tool calls.
    """
    return (
        f'Find the object that this describes: "{expression.strip()}". Answer with its bounding box alone, as '
        "[x1, y1, x2, y2]."
    )


def open_refcoco(path: Path) -> Dataset:
    """Open a file of referring expressions; ``boxes`` holds the one true box, ``answer`` the same as text in pixels.

    Raises:
        DataError: The file is of none of the forms.
    """
    if path.suffix.lower() == ".tsv":
        return MappedDataset(TSVDataset(path), _grounded)
    if path.suffix.lower() == ".parquet":
        records = read_parquet(path, "image")
        check_fields(records, ("bbox", "answer"), FORMAT)
        return RecordDataset(exploded(records, "answer"), _sample, image_column="image")
    records = read_json_records(path)
    check_fields(records, ("bbox", ("sent", "sents"), ("image", "img_id", "file_name")), FORMAT)
    return RecordDataset(exploded(records, "sents") if "sents" in records[0].fields else records, _sample)


def _sample(record: Record, stored_image: Callable[[], ImageRef]) -> Sample:
    fields = record.fields
    expression = text_of(record, "sent", "sents", "answer")
    corners = "sent" in fields
    if stored := "answer" in fields and "sent" not in fields and "sents" not in fields:
        image = stored_image()
    else:
        name = text_of(record, "image", "file_name", "img_id")
        image = find_image(record, name if Path(name).suffix else f"{name}.jpg", IMAGE_FOLDERS)
    box = _pixels(fields.get("bbox"), corners)
    size = (fields.get("width"), fields.get("height"))
    if all(isinstance(side, int | float) for side in size) and image.size != size:
        raise ValueError(f"the boxes are of an image of {size[0]} x {size[1]}, {image.name} has {image.size}")
    part = f"/{record.part}" if stored or "sents" in fields else ""
    return _finished(
        f"{record.file.stem}:{record.row}{part}", expression, image, box, {"category": str(fields.get("split", ""))}
    )


def _pixels(box: Any, corners: bool) -> BBox:
    if (
        not isinstance(box, Sequence)
        or len(box) != 4
        or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in box)
    ):
        raise ValueError(f"'bbox' must be four numbers, not {quoted(box)}")
    x, y, right, bottom = map(float, box)
    return (x, y, right, bottom) if corners else (x, y, x + right, y + bottom)


def _finished(name: str, expression: str, image: ImageRef, box: BBox, metadata: Mapping[str, Any]) -> Sample:
    return Sample(
        id=name,
        question=question_of(expression),
        answer=box_text(box),
        images=(image,),
        boxes=(box,),
        data_source=REFCOCO,
        metadata={"expression": expression, **{key: value for key, value in metadata.items() if value}},
    )


def _grounded(sample: Sample) -> Sample:
    """Make a box of the columns of a TSV row."""
    box = _box_of_row(sample, sample.images[0].size)
    question = sample.question if _ASKS_FOR_BOX.search(sample.question) else question_of(sample.question)
    metadata = {key: value for key, value in sample.metadata.items() if not key.startswith("bbox_")}
    if "split" in metadata:
        metadata["category"] = metadata.pop("split")
    return replace(
        sample, question=question, answer=box_text(box), boxes=(box,), data_source=REFCOCO, metadata=metadata
    )


def _box_of_row(sample: Sample, size: Size) -> BBox:
    endings: dict[str, Frame] = {"": "native", "_norm": "unit"}
    for ending, frame in endings.items():
        cells = [sample.metadata.get(f"bbox_{corner}{ending}") for corner in _CORNERS]
        if None not in cells:
            x1, y1, x2, y2 = (_number(cell) for cell in cells)
            return to_native((x1, y1, x2, y2), frame, size, size)
    cells = [cell for cell in re.split(r"[\s,;()\[\]]+", sample.answer) if cell]
    if len(cells) != 4:
        raise ValueError(f"has no columns bbox_x1 to bbox_y2, and answer {quoted(sample.answer)} is not four numbers")
    x1, y1, x2, y2 = map(_number, cells)
    in_fractions = max(map(abs, (x1, y1, x2, y2))) <= MAX_FRACTION
    return to_native((x1, y1, x2, y2), "unit" if in_fractions else "native", size, size)


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"coordinate {quoted(cell)} is not a number") from error
