"""Transforms of any benchmark: images turned, options cycled."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks.records import MappedDataset
from deepeyes_env.data.dataset import Dataset
from deepeyes_env.errors import DataError, ImageError
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox, Size
from deepeyes_env.images.ops import rotate
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.regions import Region

GROUP = "group"
"""Key in ``Sample.metadata`` of the question that several samples ask with cycled options."""

FIXED_OPTIONS = "fixed_options"
"""Key in ``Sample.metadata``: true where the environment must not shuffle the options."""

CYCLE_COLUMN = "cycle_category"
"""Column by which a TSV says that its rows ask each question with cycled options already (HR-Bench)."""


@dataclass(frozen=True)
class Turned:
    """The recipe of an image turned clockwise by quarter turns; a ``Renderable``.

    Attributes:
        image: The image as it is.
        quarters: How often by 90 degrees clockwise: 1, 2 or 3.
    """

    image: ImageRef
    quarters: int

    @property
    def key(self) -> str:
        """Text that determines the pixels."""
        return f"turned by {90 * self.quarters}: {self.image.digest}"

    @property
    def size(self) -> Size:
        """``(width, height)`` in pixels."""
        width, height = self.image.size
        return (height, width) if self.quarters % 2 else (width, height)

    def render(self) -> Image:
        """Decode and turn the image; no pixel changes its value."""
        return rotate(self.image.pixels(), 90 * self.quarters)


def turned_box(box: BBox, quarters: int, size: Size) -> BBox:
    """Return where a box is after the image was turned clockwise.

    Args:
        box: ``(x1, y1, x2, y2)`` in pixels of the image as it was.
        quarters: How often by 90 degrees clockwise.
        size: ``(width, height)`` of the image as it was.
    """
    return Region.whole(0, size).turned(quarters).from_source(box)


def box_text(box: BBox) -> str:
    """Return a box as the text of a right answer: ``[x1, y1, x2, y2]`` in native pixels."""
    return json.dumps([round(float(x), 2) for x in box])


class Rotated(MappedDataset):
    """A data set with each image turned clockwise by 90, 180 or 270 degrees (the rotate test of DeepEyes).

    Quarter turns, because they lose nothing: no pixel changes, no corner is cut or blank, and a box stays a box, so
    that the test means the same for every benchmark. The angle of a sample depends on the seed and its id alone, or its
    ``metadata["group"]`` if it has one; all its images are turned alike, and ``metadata["angle"]`` says by how much.
    Boxes turn with the image, and so does an answer that is the text of the first box (``box_text``).

    Args:
        dataset: The samples.
        seed: Seeds the angles.
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        super().__init__(dataset, self._turned)
        self.seed = seed

    def _turned(self, sample: Sample) -> Sample:
        name = sample.metadata.get(GROUP, sample.id)
        digest = hashlib.blake2b(f"{self.seed} {name}".encode(), digest_size=8).digest()
        quarters = 1 + int.from_bytes(digest, "big") % 3
        boxes = tuple(turned_box(each.box, quarters, sample.images[each.image].size) for each in sample.regions)
        is_box = bool(boxes) and sample.answer == box_text(sample.boxes[0])
        return replace(
            sample,
            answer=box_text(boxes[0]) if is_box else sample.answer,
            images=tuple(ImageRef(Turned(image, quarters), name=image.name) for image in sample.images),
            boxes=boxes,
            metadata={**sample.metadata, "angle": 90 * quarters},
        )


class Circular:
    """A data set that asks each multiple-choice question once for each option, with the options cycled by one.

    The order is fixed (``metadata["fixed_options"]``), the samples of one question share ``metadata["group"]``, and
    their ids end in ``#0``, ``#1``, ...; a question without options is asked once, and so is one that cannot be read,
    which then raises. Opening it reads every sample once, for the number of its options.

    Rows that are cycled already (HR-Bench's files: those with ``cycle_category``) are left as they are, and grouped by
    question, options and image; that needs no reading ahead.

    Args:
        dataset: The samples.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.view: Any = getattr(dataset, "view", None)
        first = first_readable(dataset)
        self.cycled_already = first is not None and CYCLE_COLUMN in first.metadata
        self._items: list[tuple[int, int]] | None = None
        self._shared: frozenset[str] = frozenset()
        if not self.cycled_already:
            seen: Counter[str] = Counter()
            counts = [self._orders_of(index, seen) for index in range(len(dataset))]
            self._items = [(index, shift) for index, count in enumerate(counts) for shift in range(count)]
            self._shared = frozenset(name for name, count in seen.items() if count > 1)

    @property
    def cycles(self) -> bool:
        """Whether any question is asked in several orders of its options."""
        return self._items is None or len(self._items) > len(self.dataset)

    def __len__(self) -> int:
        return len(self.dataset) if self._items is None else len(self._items)

    def __getitem__(self, index: int) -> Sample:
        if self._items is None:
            return _grouped(self.dataset[index])
        row, shift = self._items[index]
        return self._cycled(self.dataset[row], row, shift)

    def __iter__(self) -> Iterator[Sample]:
        if self._items is None:
            return map(_grouped, self.dataset)
        # Not row by row: a sample is read once for all of its cycles.
        return (
            self._cycled(sample, row, shift)
            for row, sample in enumerate(self.dataset)
            for shift in range(max(1, len(sample.options)))
        )

    def _orders_of(self, index: int, seen: Counter[str]) -> int:
        try:
            sample = self.dataset[index]
        except (DataError, ImageError):
            return 1
        seen[sample.id] += 1
        return max(1, len(sample.options))

    def _cycled(self, sample: Sample, row: int, shift: int) -> Sample:
        group = numbered(sample.id, row) if sample.id in self._shared else sample.id
        options = sample.options[shift:] + sample.options[:shift]
        metadata = {**sample.metadata, GROUP: group, "cycle": shift, FIXED_OPTIONS: True}
        return replace(sample, id=f"{sample.id}#{shift}", options=options, metadata=metadata)


def numbered(id: str, index: int) -> str:
    """Tell a sample apart from others of the same id, by its index in the data set."""
    return f"{id} (sample {index})"


def first_readable(dataset: Dataset) -> Sample | None:
    """Return the first sample that can be read, if any can."""
    for index in range(len(dataset)):
        try:
            return dataset[index]
        except (DataError, ImageError):
            continue
    return None


def _grouped(sample: Sample) -> Sample:
    identity = repr((sample.question, sorted(sample.options), [image.digest for image in sample.images]))
    group = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    return replace(sample, metadata={**sample.metadata, GROUP: group, FIXED_OPTIONS: True})
