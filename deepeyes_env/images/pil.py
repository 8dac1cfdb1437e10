"""Pixels as Pillow images, which processors, servers and trainers take, without a copy where none is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.images.codec import Image, is_frozen


class PixelImage(PILImage.Image):
    """A Pillow image of an array that nobody can write to.

    NumPy reads the array itself, and so does ``pickle``, which makes a plain Pillow image of it elsewhere. Pillow's own
    pixels, 4 bytes each, are made where it is asked for something that needs them: it loads a file as late as that.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``, frozen. Its rows may lie apart, as those of a crop do.
    """

    def __init__(self, pixels: Image) -> None:
        super().__init__()
        self._mode, self._size = "RGB", (pixels.shape[1], pixels.shape[0])
        self._pixels: Image | None = pixels

    def load(self) -> Any:
        """Make Pillow's own pixels, from which on this is an image like any other."""
        pixels = self._pixels
        if pixels is not None:
            self.im, self._pixels = _copied(pixels).im, None
        return super().load()

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What NumPy makes an array of; the array keeps the pixels alive."""
        pixels = self._pixels
        if pixels is None:
            return super().__array_interface__
        told = {"version": 3, "shape": pixels.shape, "typestr": "|u1", "strides": pixels.strides}
        return {**told, "data": _rows(pixels)}

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Tell how to make a plain Pillow image of the same pixels."""
        pixels = self._pixels
        if pixels is None or self.info:
            return PILImage.Image, (), self.__getstate__()
        return PILImage.frombytes, (self.mode, self.size, np.ascontiguousarray(pixels))


def to_pil(pixels: Image) -> PILImage.Image:
    """Return a ``(H, W, 3)`` array as a PIL image; one that nobody can write to is copied only when it must be."""
    return PixelImage(pixels) if is_frozen(pixels) and _has_rows(pixels) else _copied(pixels)


def _copied(pixels: Image) -> PILImage.Image:
    """Do as ``PIL.Image.fromarray`` does, but with one copy of a crop.

    The rows of a crop lie apart in the image that it was cut from; Pillow's decoder steps from one to the next.
    """
    if not _has_rows(pixels):
        return PILImage.fromarray(pixels)
    image = PILImage.new("RGB", (pixels.shape[1], pixels.shape[0]), None)
    image.frombytes(_rows(pixels), "raw", "RGB", pixels.strides[0], 1)
    return image


def _has_rows(pixels: Image) -> bool:
    row, *within = pixels.strides
    return row >= 0 and within == [3, 1]


def _rows(pixels: Image) -> np.ndarray:
    """Return the bytes from the first pixel to the last, with what lies between rows."""
    height, width, _ = pixels.shape
    size = (height - 1) * pixels.strides[0] + 3 * width
    return np.lib.stride_tricks.as_strided(pixels, (size,), (1,), writeable=False)
