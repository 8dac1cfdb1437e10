"""The stage ``format``: how each question may be asked, and whether it was asked before. It needs no model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepeyes_env.agents.curation.label_file import Labelled, label_path, read_labels
from deepeyes_env.agents.curation.lookalikes import Look, Lookalikes
from deepeyes_env.agents.curation.open_form import Form, form_of
from deepeyes_env.agents.progress import progress_bar
from deepeyes_env.core import Sample
from deepeyes_env.data import Dataset
from deepeyes_env.errors import DataError, ImageError
from deepeyes_env.json_lines import JSONLinesFile
from deepeyes_env.judges.text import key


def label_format(dataset: Dataset, folder: Path, *, limit: int | None = None, progress: bool = True) -> None:
    """Label the questions of a data set that have no label of this stage yet, in order; one row is held at a time.

    Args:
        dataset: The questions.
        folder: Folder of the curation.
        limit: The first N only.
        progress: Show a progress bar where standard error is a terminal.

    Raises:
        OSError: The disk is full, say; what was labelled before is whole.
        MissingExtraError: ImageHash is not installed.
    """
    path = label_path(folder, "format")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = min(len(dataset), limit or len(dataset))
    with JSONLinesFile(path, exclusive=True) as file:
        seen = _Seen()
        done = {each.row for each in read_labels(path) if seen.recall(each)}
        with progress_bar("format", count, len(done), shown=progress) as tell:
            for row in range(count):
                if row not in done:
                    file.append(seen.label(row, dataset).as_line())
                    tell("")


def formatted(sample: Sample, labelled: Labelled) -> Sample:
    """Return a sample in the form that this stage found for it."""
    found = labelled.found
    is_open = labelled.labels.get("open") == 1
    form = Form(is_open, "", found.get("question", sample.question), found.get("answer", sample.answer))
    return form.applied(sample)


class _Seen:
    """The images and questions of the rows so far."""

    def __init__(self) -> None:
        self._looks = Lookalikes()
        self._group_of: dict[bytes, int] = {}
        self._asked: dict[bytes, int] = {}

    def recall(self, labelled: Labelled) -> bool:
        """Take in what was labelled before; returns whether it need not be labelled again."""
        found = labelled.found
        if labelled.labels:
            if look := found.get("look"):
                self._looks.add(labelled.row, Look.read(look))
            self._group_of.setdefault(bytes.fromhex(found["image"]), found["group"])
            self._asked.setdefault(bytes.fromhex(found["asked"]), labelled.row)
        return not labelled.again

    def label(self, row: int, dataset: Dataset) -> Labelled:
        """Label a row."""
        try:
            sample = dataset[row]
        except DataError as error:
            return Labelled(row, reason=f"the row cannot be read: {error}")
        form = form_of(sample)
        try:
            images = b"".join(bytes.fromhex(image.digest) for image in sample.images)
            digest = hashlib.sha256(images).digest()[:16]
            group, look = self._group(row, digest, sample)
        except ImageError as error:
            return Labelled(row, sample.id, reason=f"an image cannot be read: {error}")
        asked = _fingerprint(group, form)
        before = self._asked.setdefault(asked, row)
        found: dict[str, Any] = {"why": form.reason, "image": digest.hex(), "group": group, "asked": asked.hex()}
        if sample.boxes:
            found["boxes"] = len(sample.boxes)
        if look is not None:
            found["look"] = str(look)
        if before != row:
            found["same_as"] = before
        if form.open:
            found |= {"question": form.question, "answer": form.answer}
        labels = {"open": float(form.open), "duplicate": float(before != row), "near_image": float(group != row)}
        return Labelled(row, sample.id, labels, found=found)

    def _group(self, row: int, digest: bytes, sample: Sample) -> tuple[int, Look | None]:
        """Return the row that had a sample's image, or one nearly the same, first; and how it looks, if it is new."""
        if digest in self._group_of:
            return self._group_of[digest], None
        look, first = None, None
        if len(sample.images) == 1:  # of several images, one may be the one that matters
            look = Look.of(sample.images[0])
            first = self._looks.find(look)
        else:
            for image in sample.images:
                image.pixels()
        group = row if first is None else first
        if look is not None and first is None:
            self._looks.add(row, look)
        self._group_of[digest] = group
        return group, look if first is None else None


def _fingerprint(group: int, form: Form) -> bytes:
    text = f"{group}\n{key(form.question)}\n{key(form.answer)}"
    return hashlib.sha256(text.encode(errors="replace")).digest()[:16]


def format_lines(folder: Path, *, forms_only: bool = False) -> Iterator[Labelled]:
    """Give what this stage said of each question that it could label.

    Args:
        folder: Folder of the curation.
        forms_only: Leave out what only this stage needs, so that many can be held.
    """
    for each in read_labels(label_path(folder, "format")):
        if each.labels:
            yield (
                replace(each, found={name: each.found[name] for name in _FORM if name in each.found})
                if forms_only
                else each
            )


def unreadable(folder: Path) -> Iterator[Labelled]:
    """Give what this stage said of each question that it could not label."""
    return (each for each in read_labels(label_path(folder, "format")) if not each.labels)


_FORM = ("question", "answer", "boxes")
