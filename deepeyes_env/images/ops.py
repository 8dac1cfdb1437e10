"""Geometry on pixels: cut, turn, and scale to a view. Every result is read-only."""

from __future__ import annotations

import functools
import math
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.registry import unknown_name

FitMode: TypeAlias = Literal["exact", "fast"]
"""How ``fit`` scales: ``exact`` like Pillow (and so the models' processors), ``fast`` by torch."""


def crop(pixels: Image, box: PixelBox) -> Image:
    """Cut a box out of an image: a view that shares its memory; nothing is copied.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``.
        box: ``(x1, y1, x2, y2)`` in whole pixels of ``pixels``, right and bottom exclusive.

    Returns:
        ``(y2 - y1, x2 - x1, 3)``, read-only, in general not contiguous.

    Raises:
        UsageError: The box is empty or reaches beyond the image.
    """
    x1, y1, x2, y2 = box
    height, width = pixels.shape[:2]
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise UsageError(
            f"crop box {box} does not lie inside the image of {width} x {height}; needs 0 <= x1 < x2 <= {width} and "
            f"0 <= y1 < y2 <= {height}"
        )
    return _read_only(pixels[y1:y2, x1:x2])


def rotate(pixels: Image, angle: float) -> Image:
    """Turn an image clockwise and keep all of it: the result is as large as the turned image's bounding box.

    Multiples of 90 degrees move pixels and change none. Other angles are bicubic, with black in the corners.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``.
        angle: Degrees; positive turns clockwise.

    Returns:
        Read-only and contiguous; ``pixels`` itself for multiples of 360.

    Raises:
        UsageError: ``angle`` is not finite.
    """
    if not math.isfinite(angle):
        raise UsageError(f"angle {angle} is not a finite number of degrees")
    quarters, rest = divmod(angle % 360, 90)
    if rest:
        turned = PILImage.fromarray(pixels).rotate(-angle % 360, PILImage.Resampling.BICUBIC, expand=True)
        return _read_only(np.asarray(turned))
    if quarters % 4 == 0:
        return _read_only(pixels)
    return _read_only(np.ascontiguousarray(np.rot90(pixels, -int(quarters))))


def fit(pixels: Image, size: Size, mode: FitMode = "exact") -> Image:
    """Scale an image to ``size`` with an antialiased bicubic filter.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``; a crop need not be made contiguous.
        size: ``(width, height)`` in pixels.
        mode: ``exact``: equal to Pillow's bicubic resize of the image on its own. ``fast``: by torch, within 2 levels
            of Pillow 13's and 3 to 7 times as quick.

    Returns:
        ``(height, width, 3)``, read-only and contiguous; ``pixels`` itself when it has that size already.

    Raises:
        UsageError: ``mode`` is unknown, or a side of ``size`` is less than 1.
        MissingExtraError: ``mode`` is ``fast`` and torch is not installed.
    """
    width, height = size
    if width < 1 or height < 1:
        raise UsageError(f"cannot scale an image to {width} x {height}: both sides must be at least 1")
    if mode not in ("exact", "fast"):
        raise unknown_name("way to resize", mode, ("exact", "fast"))
    if pixels.shape[:2] == (height, width):
        return _read_only(pixels)
    if mode == "fast":
        return _read_only(_torch_resize(pixels, size))
    # resize(box=...) would save this copy, but it filters in pixels from around the box.
    return _read_only(np.asarray(PILImage.fromarray(pixels).resize(size, PILImage.Resampling.BICUBIC)))


def _torch_resize(pixels: Image, size: Size) -> Image:
    with needs_extra("fast"):
        import torch
    if min(pixels.strides) < 0:
        pixels = np.ascontiguousarray(pixels)  # torch knows no negative strides.
    try:
        source = torch.utils.dlpack.from_dlpack(pixels)  # from_numpy warns of read-only memory.
    except BufferError:  # numpy before 2.1 or torch before 2.9 cannot hand over read-only memory.
        source = torch.from_numpy(pixels.copy())
    # The batch axis goes in front of the permutation, so that torch sees channels-last memory and writes the same.
    scaled = source[None].permute(0, 3, 1, 2)
    scale = functools.partial(torch.nn.functional.interpolate, mode="bicubic", antialias=True)
    if _rows_first((pixels.shape[1], pixels.shape[0]), size):
        scaled = scale(scaled, size=(size[1], pixels.shape[1]))
    scaled = scale(scaled, size=size[::-1])
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())


def _rows_first(native: Size, size: Size) -> bool:
    """Whether Pillow 13 reduces the number of rows before it scales the columns.

    Both Pillow and torch round to whole levels between the two passes, so the order makes up to 6 levels of difference.
    Torch always scales the columns first.
    """
    lost_columns, lost_rows = native[0] - size[0], native[1] - size[1]
    return lost_rows > 0 and lost_rows > 2 * lost_columns


def _read_only(pixels: Image) -> Image:
    if pixels.flags.writeable:
        pixels = pixels.view()
        pixels.flags.writeable = False
    return pixels
