"""Shapes of objects as coverage masks with smooth edges, from signed distances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.registry import unknown_name

SHAPES = ("circle", "square", "triangle", "diamond")

PLATE_DIAMETER = 0.54
"""Diameter of the grey plate on an object, as a share of the object's side: the largest that fits into every shape."""

Mask = NDArray[np.float32]


def coverage(shape: str, side: int, inset: float = 0.0) -> Mask:
    """Return how much of each pixel a shape covers, ``(side, side)`` in [0, 1].

    Args:
        shape: One of ``SHAPES``.
        side: Side of the square that the shape fills, in pixels.
        inset: How far the outline is moved inwards, in pixels.
    """
    across = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / side - 0.5
    u, v = np.abs(across)[None, :], across[:, None]
    match shape:
        case "circle":
            distance = np.sqrt(u * u + v * v) - 0.5
        case "square":
            distance = np.maximum(u, np.abs(v)) - 0.46
        case "triangle":
            distance = np.maximum(v - 0.5, (2 * u - v - 0.5) / math.sqrt(5))
        case "diamond":
            distance = (u + np.abs(v) - 0.5) / math.sqrt(2)
        case _:
            raise unknown_name("shape", shape, SHAPES)
    return np.clip(0.5 - inset - distance * side, 0.0, 1.0)


def plate_offset(shape: str, side: int) -> tuple[int, int, int]:
    """Return ``(x, y, diameter)`` of the plate's bounding square inside the object's, in pixels."""
    diameter = round(PLATE_DIAMETER * side)
    # The largest circle in the triangle (base 1, height 1) has radius 1 / (1 + sqrt 5) and stands on the base.
    centre = 1 - 1 / (1 + math.sqrt(5)) if shape == "triangle" else 0.5
    return ((side - diameter) // 2, round(centre * side - diameter / 2), diameter)


def capsule(side: int, angle: float, width: float) -> Mask:
    """Return the coverage ``(side, side)`` of a rounded bar across a square, ``width`` pixels thick."""
    across = np.arange(side, dtype=np.float32) + 0.5 - side / 2
    along = across[None, :] * math.cos(angle) + across[:, None] * math.sin(angle)
    beside = across[:, None] * math.cos(angle) - across[None, :] * math.sin(angle)
    beyond = np.maximum(np.abs(along) - (side - width) / 2, 0.0)
    cover: NDArray[np.float32] = np.clip(0.5 + width / 2 - np.sqrt(beyond * beyond + beside * beside), 0.0, 1.0)
    return cover
