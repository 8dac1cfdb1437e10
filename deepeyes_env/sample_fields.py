"""What a sample is given, checked and in one form."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageLike, ImageRef
from deepeyes_env.telling import quoted


def image_refs_of(images: Any, sample_id: str) -> tuple[ImageRef, ...]:
    """Return references to one image or a sequence of them."""
    several = isinstance(images, Sequence) and not isinstance(images, str | bytes | bytearray)
    return tuple(_image_ref(image, sample_id) for image in (images if several else (images,)))


def _image_ref(image: ImageLike, sample_id: str) -> ImageRef:
    if isinstance(image, ImageRef):
        return image
    path = str(image) if isinstance(image, str | Path) else ""
    where = f"{path} " if path and path[:5].lower() != "data:" else ""
    return ImageRef.of(image, name=f"{where}of sample {quoted(sample_id)}")


def box_of(box: Sequence[float], sample_id: str) -> BBox:
    """Return a ground-truth box as four floats.

    Raises:
        UsageError: It is not four numbers with x1 < x2 and y1 < y2.
    """
    try:
        x1, y1, x2, y2 = map(float, box)
    except (TypeError, ValueError) as error:
        where = f"sample {quoted(sample_id)}: box {quoted(box)}"
        raise UsageError(f"{where} is not four numbers [x1, y1, x2, y2]") from error
    if not (x1 < x2 and y1 < y2):
        raise UsageError(f"sample {quoted(sample_id)}: box {quoted(box)} needs x1 < x2 and y1 < y2, in pixels")
    return (x1, y1, x2, y2)


def box_images_of(numbers: Sequence[int], boxes: int, images: int, sample_id: str) -> tuple[int, ...]:
    """Return the index of the image of each box; nothing where all of them lie on the first.

    Raises:
        UsageError: There is not one for each box, or no such image.
    """
    given = tuple(numbers)
    if len(given) not in (0, boxes) or not all(_is_index(number, images) for number in given):
        raise UsageError(
            f"sample {quoted(sample_id)}: box_images={quoted(list(given))} for {boxes} boxes and {images} images; give "
            f"one index for each box, from 0 to {images - 1}"
        )
    return tuple(map(int, given)) if any(given) else ()


def _is_index(number: object, count: int) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool) and 0 <= int(number) < count
