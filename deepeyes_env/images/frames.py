"""Coordinate frames: in which units a bounding box is written, and the one place where it is converted.

A vision-language model writes a box in the coordinates it was trained with: pixels of the image as it saw it
(Qwen2.5-VL), thousandths of the side (Qwen3-VL, InternVL), fractions, or pixels of the stored file. Cutting a box in
another frame than it was written in is a silent bug; so every box carries its frame, an environment has one frame for
its policy, and nothing here guesses a frame from magnitudes.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from deepeyes_env.registry import unknown_name

BBox: TypeAlias = tuple[float, float, float, float]
"""A bounding box ``(x1, y1, x2, y2)``: left, top, right, bottom; right and bottom are exclusive."""

PixelBox: TypeAlias = tuple[int, int, int, int]
"""A bounding box in whole pixels of the stored image, right and bottom exclusive."""

Size: TypeAlias = tuple[int, int]
"""An image size as Pillow writes it: ``(width, height)`` in pixels."""

Frame: TypeAlias = Literal["native", "view", "norm1000", "unit"]
"""The units of a box: pixels of the stored image, pixels of the image as shown, 0 to 1000, or 0 to 1."""

FRAMES: tuple[Frame, ...] = get_args(Frame)


def check_frame_name(frame: str) -> None:
    """Check that there is such a coordinate frame.

    Raises:
        UnknownNameError: There is not; the message has the nearest name.
    """
    if frame not in FRAMES:
        raise unknown_name("coordinate frame", frame, FRAMES)


def frame_size(frame: Frame, native: Size, view: Size) -> tuple[float, float]:
    """Return the width and height of the whole image, written in ``frame``.

    Args:
        frame: One of ``FRAMES``.
        native: Size of the stored image, ``(width, height)`` in pixels.
        view: Size of the image as the observation showed it, ``(width, height)`` in pixels.

    Raises:
        UnknownNameError: ``frame`` is not a known frame.
    """
    match frame:
        case "native":
            return native
        case "view":
            return view
        case "norm1000":
            return (1000.0, 1000.0)
        case "unit":
            return (1.0, 1.0)
    raise unknown_name("coordinate frame", frame, FRAMES)


def to_native(box: BBox, frame: Frame, native: Size, view: Size) -> BBox:
    """Convert a box from ``frame`` to pixels of the stored image; no rounding, no clamping."""
    if frame == "native":
        return box
    width, height = frame_size(frame, native, view)
    if (width, height) == native:
        return box
    sx, sy = native[0] / width, native[1] / height
    return (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)


def from_native(box: BBox, frame: Frame, native: Size, view: Size) -> BBox:
    """Convert a box from pixels of the stored image to ``frame``; the inverse of ``to_native``."""
    width, height = frame_size(frame, native, view)
    if (width, height) == native:
        return box
    sx, sy = width / native[0], height / native[1]
    return (box[0] * sx, box[1] * sy, box[2] * sx, box[3] * sy)


def clamp(box: BBox, size: Size) -> BBox:
    """Clip a box to the image ``(0, 0, width, height)``; a box outside comes back inverted, never moved."""
    return (max(0, box[0]), max(0, box[1]), min(size[0], box[2]), min(size[1], box[3]))


def to_pixels(box: BBox) -> PixelBox:
    """Round a box to whole pixels as Pillow's ``Image.crop`` does: half to even, each edge on its own."""
    return (round(box[0]), round(box[1]), round(box[2]), round(box[3]))


def area(box: BBox) -> float:
    """Return the area of a box in square units of its frame; zero for an empty or inverted box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def iou(a: BBox, b: BBox) -> float:
    """Return intersection over union of two boxes of the same frame, in ``[0, 1]``."""
    inter = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = area(a) + area(b) - inter
    return inter / union if union > 0 else 0.0


def is_finite_box(box: BBox) -> bool:
    """Whether all four numbers are finite."""
    return all(map(math.isfinite, box))
