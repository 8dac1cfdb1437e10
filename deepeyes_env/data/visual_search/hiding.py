"""Make a pattern invisible at one view size: remove exactly that part of it which the view would show.

A view is linear in the pixels: every row of a Pillow bicubic downscale is a weighted sum of native pixels. Whatever of
a pattern lies outside the span of those weights is lost in the view, and stays readable in a crop. So a hidden mark is
its pattern minus the projection on that span. To the eye it is the mark with a soft halo of the opposite sign, like the
"vanishing optotypes" of eye charts, and the view holds nothing of it but the rounding to whole grey levels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.images.frames import Size

Pattern = NDArray[np.float64]
"""A grey pattern of shape ``(height, width)``, -1 (dark) to 1 (light) around the grey of what it is drawn on."""


def hide(pattern: Pattern, origin: tuple[int, int], size: Size, view: Size) -> Pattern:
    """Return the part of ``pattern`` that a bicubic downscale of its scene does not show.

    Args:
        pattern: The pattern, ``(height, width)``.
        origin: Native ``(x, y)`` of its top left pixel in the scene.
        size: ``(width, height)`` of the scene.
        view: ``(width, height)`` at which the scene is shown; smaller than ``size`` on both axes.
    """
    rows = _shown(origin[1], pattern.shape[0], size[1], view[1])
    columns = _shown(origin[0], pattern.shape[1], size[0], view[0])
    return pattern - rows @ (rows.T @ pattern @ columns) @ columns.T


def _shown(start: int, length: int, native: int, shown: int) -> NDArray[np.float64]:
    """Return what ``shown`` samples of ``native`` pixels see of some of them: an orthonormal basis, ``(length, k)``."""
    scale = native / shown
    first = max(0, math.floor((start / scale) - 2.5))
    last = min(shown, math.ceil((start + length) / scale + 2.5))
    centres = (np.arange(first, last) + 0.5) * scale
    pixels = np.arange(start, start + length) + 0.5
    # The sums that Pillow divides by are left out: they change the length of a row, not its direction.
    weights = _bicubic((pixels - centres[:, None]) / scale)
    weights = weights[np.abs(weights).max(axis=1) > 1e-6]
    basis: NDArray[np.float64] = np.linalg.qr(weights.T)[0]
    return basis


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, which is what Pillow's BICUBIC is."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
