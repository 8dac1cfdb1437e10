"""The least size of an image that a tool made: vision-language models' processors refuse smaller and longer ones."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.views import MAX_ASPECT_RATIO

LEAST_SIDE = 32
"""How long DeepEyesV2 makes the short side of an image that a program shows, at least."""

_LONGEST = 150  # the ratio of sides that a needle is brought to, or half of what it was


def least_size(size: Size) -> Size:
    """Return the ``(width, height)`` at which DeepEyesV2 shows an image that a program made.

    A short side under ``LEAST_SIDE`` is brought to it, the other one in proportion and rounded up. Where the long side
    is more than ``MAX_ASPECT_RATIO`` times the short one, the image is squeezed before.
    """
    short, long = min(size), max(size)
    ratio = long / short
    if ratio > MAX_ASPECT_RATIO:
        bounded = min(_LONGEST, ratio / 2)
        short, long = int(short * ratio / bounded), int(short * bounded)
    if short < LEAST_SIDE:
        short, long = LEAST_SIDE, math.ceil(long * LEAST_SIDE / short)
    return (long, short) if size[0] > size[1] else (short, long)


def at_least(pixels: Image) -> Image:
    """Return an image at its ``least_size``; most are left alone."""
    height, width = pixels.shape[:2]
    size = least_size((width, height))
    if size == (width, height):
        return pixels
    return np.asarray(PILImage.fromarray(pixels).resize(size, PILImage.Resampling.LANCZOS))
