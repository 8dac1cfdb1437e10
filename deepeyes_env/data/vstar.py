"""V* bench: folders of images, each with a JSON of the same stem (V*, arXiv 2312.14135).

The JSON holds ``question``, ``options`` (the first is right), ``target_object`` (a list of names) and ``bbox``, one
``[x, y, w, h]`` in pixels for each target.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.fields import box_list_field, names_of, parse_object, text_field, text_list_field
from deepeyes_env.data.rows import OnError, RowDataset, checked_samples
from deepeyes_env.equal_options import right_options, twin_mark
from deepeyes_env.errors import DataError
from deepeyes_env.files import read_regular_file, replacing
from deepeyes_env.images.files import encoded_image, image_extension
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.frames import BBox
from deepeyes_env.telling import quoted

CATEGORIES = ("direct_attributes", "relative_position")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2", ".ppm"})


class VStarDataset(RowDataset):
    """Samples of a V* folder, sorted by category and file name.

    Sample ids are ``<category>/<stem>``; ``metadata`` holds ``category`` and ``target_object``. The options keep the
    file's order, right one first: the environment shuffles them.

    Args:
        folder: The folder that holds ``direct_attributes`` or ``relative_position`` or both.
        image_root: One more folder in which files may lie to which links lead; see ``ImageFolder``.
        on_error: What to do about a bad row; see ``RowDataset``. An image without a JSON
            and a JSON without an image are bad rows.

    Raises:
        DataError: The folder has neither of the two.
    """

    def __init__(
        self, folder: str | Path, *, on_error: OnError = "raise", image_root: str | Path | None = None
    ) -> None:
        self.folder = Path(folder)
        self._images = ImageFolder(self.folder, image_root)
        present = [category for category in CATEGORIES if (self.folder / category).is_dir()]
        if not present:
            raise DataError(f"{folder}: not a V* folder, has neither {' nor '.join(CATEGORIES)}")
        self._items = tuple(
            (category, stem, images)
            for category in present
            for stem, images in sorted(_images_by_stem(self.folder / category).items())
        )
        self._select_rows(len(self._items), on_error)

    def __repr__(self) -> str:
        return f"VStarDataset({str(self.folder)!r})"

    def _locate(self, row: int) -> tuple[Path, int]:
        category, stem, _ = self._items[row]
        return self.folder / category / f"{stem}.json", row

    def _read(self, row: int) -> Sample:
        category, stem, images = self._items[row]
        if len(images) != 1:
            raise ValueError(f"needs one image of the same stem beside it, has {list(images)}")
        record = parse_object(read_regular_file(self._images.path(f"{category}/{stem}.json")))
        options = text_list_field(record, "options")
        if not options:
            raise ValueError(f"has no 'options'; it has {names_of(record)}")
        return Sample(
            id=f"{category}/{stem}",
            question=text_field(record, "question"),
            answer=options[0],
            images=(self._images.image(f"{category}/{images[0]}"),),
            options=options,
            boxes=tuple(_corners(box) for box in box_list_field(record, "bbox")),
            data_source="vstar",
            metadata={"category": category, "target_object": record.get("target_object", [])} | twin_mark(options, 0),
        )


def _images_by_stem(folder: Path) -> dict[str, tuple[str, ...]]:
    stems: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            stems[path.stem] = (*stems.get(path.stem, ()), path.name)
        elif path.suffix == ".json":
            stems.setdefault(path.stem, ())
    return stems


def _corners(box: list[float]) -> BBox:
    if len(box) != 4:
        raise ValueError(f"bbox {quoted(box)} is not four numbers [x, y, w, h]")
    x, y, width, height = box
    if width <= 0 or height <= 0:
        raise ValueError(f"bbox [x, y, w, h] = {box} needs a width and a height above 0")
    return (x, y, x + width, y + height)


def write_vstar(samples: Iterable[Sample], folder: str | Path) -> None:
    """Write multiple-choice samples as a V* folder; encoded images keep their bytes, others become PNG.

    The category is ``metadata["category"]``, the file name the last part of the id. The format holds one image, the
    question, the options with the right one first, the boxes and ``target_object``; nothing else is written.

    Raises:
        DataError: A sample has no options, more than one image, another category, or an id that is no file name.
    """
    for sample in checked_samples(samples):
        try:
            _write_item(sample, Path(folder))
        except (ValueError, TypeError, OSError) as error:
            raise DataError(f"cannot write sample {quoted(sample.id)} to V* folder {folder}: {error}") from error


def _write_item(sample: Sample, folder: Path) -> None:
    category = sample.metadata.get("category")
    if category not in CATEGORIES:
        raise ValueError(f"metadata['category'] is {quoted(category)}, must be one of {', '.join(CATEGORIES)}")
    if not sample.options or len(sample.images) != 1:
        raise ValueError(f"has {len(sample.options)} options and {len(sample.images)} images; needs options, one image")
    right, *_ = right_options(sample.options, sample.answer, sample.metadata)
    record: dict[str, Any] = {
        "question": sample.question,
        "options": [sample.answer, *(option for index, option in enumerate(sample.options) if index != right)],
        "target_object": sample.metadata.get("target_object", []),
        "bbox": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in sample.boxes],
    }
    stem = PurePosixPath(sample.id).name
    data = encoded_image(sample.images[0])
    for suffix, content in (
        (f".{image_extension(data)}", data),
        (".json", json.dumps(record, ensure_ascii=False).encode()),
    ):
        with replacing(folder / category / f"{stem}{suffix}") as temporary:
            temporary.write_bytes(content)
