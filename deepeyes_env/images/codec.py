"""Bytes to pixels and back. (Being written.)"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage


class ImageError(ValueError):
    """An image cannot be read; the message names it."""


def decode(data: bytes, *, name: str = "") -> NDArray[np.uint8]:
    """Decode encoded bytes to a read-only ``(H, W, 3)`` array."""
    import io

    return as_rgb_array(np.asarray(PILImage.open(io.BytesIO(data)).convert("RGB")))


def read_size(data: bytes, *, name: str = "") -> tuple[int, int]:
    """Read ``(width, height)`` after EXIF rotation from the header."""
    import io

    return PILImage.open(io.BytesIO(data)).size


def to_rgb_array(image: PILImage.Image) -> NDArray[np.uint8]:
    """Convert a PIL image of any mode to a read-only ``(H, W, 3)`` array."""
    return as_rgb_array(np.asarray(image.convert("RGB")))


def as_rgb_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Check an array and make it read-only ``(H, W, 3)``; copies it if it is writable."""
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array
