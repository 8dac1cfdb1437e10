"""JSONL: one sample a line, images as files beside it.

A line is a JSON object with ``question``, ``answer`` and ``images`` (a path or a list of paths, relative to the file),
and optionally ``id`` (default ``<file stem>:<row>``), ``options`` (the answer is one of them), ``boxes`` (``[x1, y1,
x2, y2]`` in pixels of the first image), ``box_images`` (for each box the index of its image, from 0, if it is another
one), ``env_name`` (absent: the environment's own toolbox; ``null``: an ordinary
question without tools), ``data_source``, ``metadata`` (any object) and ``messages`` (the row's own prompt:
objects with ``role`` and ``content``). Blank lines are ignored.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.fields import (
    box_list_field,
    index_list_field,
    names_of,
    parse_object,
    text_field,
    text_list_field,
)
from deepeyes_env.data.map_style import SAMPLE_KEYS
from deepeyes_env.data.rows import OnError, RowDataset, checked_samples
from deepeyes_env.errors import DataError
from deepeyes_env.files import replacing
from deepeyes_env.images.files import encoded_image, image_extension
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.sources.named import relative_name
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.registry import unknown_name
from deepeyes_env.telling import quoted


class JSONLDataset(RowDataset):
    """Samples of a JSONL file, read one line at a time.

    Opening the file scans it once for line starts (8 bytes of memory a row) and parses nothing.

    Args:
        path: The file.
        on_error: What to do about a bad row; see ``RowDataset``.
        image_root: One more folder in which images may lie, beside that of the file; see ``ImageFolder``.

    Raises:
        DataError: The file cannot be read.
    """

    def __init__(self, path: str | Path, *, on_error: OnError = "raise", image_root: str | Path | None = None) -> None:
        self.path = Path(path)
        self._images = ImageFolder(self.path.parent, image_root)
        try:
            self._offsets = _line_offsets(self.path)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
        self._select_rows(len(self._offsets), on_error)

    def __repr__(self) -> str:
        return f"JSONLDataset({str(self.path)!r})"

    def _locate(self, row: int) -> tuple[Path, int]:
        return self.path, row

    def _read(self, row: int) -> Sample:
        with self.path.open("rb") as file:
            file.seek(self._offsets[row])
            line = file.readline().rstrip()
        return _sample(parse_object(line), default_id=f"{self.path.stem}:{row}", images=self._images)


def _line_offsets(path: Path) -> array[int]:
    offsets = array("q")
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        start = file.tell()
        for line in file:
            if line.strip():
                offsets.append(start)
            start += len(line)
    return offsets


def _sample(record: dict[str, Any], *, default_id: str, images: ImageFolder) -> Sample:
    for key in record:
        if key not in SAMPLE_KEYS:
            raise unknown_name("key", key, SAMPLE_KEYS)
    env_name = record.get("env_name", "")
    metadata = record.get("metadata", {})
    if not isinstance(metadata, dict):
        raise ValueError(f"'metadata' must be an object, not {quoted(metadata)}")
    messages = record.get("messages", [])
    if not isinstance(messages, list):
        raise ValueError(f"'messages' must be a list, not {quoted(messages)}")
    return Sample(
        id=text_field({"id": default_id, **record}, "id"),
        question=text_field(record, "question"),
        answer=text_field(record, "answer"),
        images=tuple(map(images.image, _image_names(record))),
        options=text_list_field(record, "options"),
        boxes=box_list_field(record, "boxes"),
        box_images=index_list_field(record, "box_images"),
        env_name=None if env_name is None else text_field({"env_name": env_name}, "env_name"),
        data_source=text_field({"data_source": "", **record}, "data_source"),
        metadata=metadata,
        messages=tuple(messages),
    )


def _image_names(record: dict[str, Any]) -> tuple[str, ...]:
    if isinstance(record.get("images"), str):
        return (record["images"],)
    if "images" not in record:
        raise ValueError(f"has no 'images'; it has {names_of(record)}")
    return text_list_field(record, "images")


def write_jsonl(samples: Iterable[Sample], path: str | Path) -> None:
    """Write samples to a JSONL file, and their images into the folder ``<stem>_images`` beside it.

    Images are named by the SHA-256 of their encoded bytes, so that an image shared by many samples is stored once.
    Encoded images keep their bytes; pixels and recipes become PNG; of slides and documents the path is written,
    relative to the file. The file appears whole or not at all.

    Raises:
        DataError: A sample cannot be written: see ``checked_samples``; or its metadata
            is not JSON, or an image cannot be read.
    """
    path = Path(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for sample in checked_samples(samples):
            try:
                line = json.dumps(_record(sample, path), ensure_ascii=False, allow_nan=False)
                file.write(line + "\n")
            except (TypeError, ValueError, OSError) as error:
                raise DataError(f"cannot write sample {quoted(sample.id)} to {path}: {error}") from error


def _record(sample: Sample, path: Path) -> dict[str, Any]:
    folder = path.with_name(f"{path.stem}_images")
    names = []
    for image in sample.images:
        if isinstance(image.source, RegionSource):
            names.append(relative_name(image.source, path.parent))
            continue
        data = encoded_image(image)
        target = folder / f"{hashlib.sha256(data).hexdigest()}.{image_extension(data)}"
        if not target.exists():
            with replacing(target) as temporary:
                temporary.write_bytes(data)
        names.append(f"{folder.name}/{target.name}")
    record: dict[str, Any] = {
        "id": sample.id,
        "question": sample.question,
        "answer": sample.answer,
        "images": names,
    }
    if sample.options:
        record["options"] = sample.options
    if sample.boxes:
        record["boxes"] = sample.boxes
    if sample.box_images:
        record["box_images"] = sample.box_images
    if sample.env_name != "":
        record["env_name"] = sample.env_name
    if sample.data_source:
        record["data_source"] = sample.data_source
    if sample.metadata:
        record["metadata"] = dict(sample.metadata)
    if sample.messages:
        record["messages"] = [asdict(message) for message in sample.messages]
    return record
