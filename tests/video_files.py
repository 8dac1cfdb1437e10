"""Writes videos whose frames say their own number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS, CELL = 18, 8


def numbered(index: int, size: tuple[int, int]) -> np.ndarray:
    """A frame with its number in black and white cells."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    for bit in range(BITS):
        pixels[:CELL, bit * CELL : (bit + 1) * CELL] = 255 * (index >> bit & 1)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    """Read the number of a frame of native size."""
    middle = pixels[CELL // 2, CELL // 2 :: CELL, 1]
    return sum(int(middle[bit] > 128) << bit for bit in range(BITS))


def write_video(
    path: Path, frames: int, rate: Fraction, key_every: int, size: tuple[int, int] = (160, 120), gaps: bool = False
) -> None:
    """Write an H.264 file with B-frames; with gaps, every third frame is seen twice as long."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {
            "preset": "ultrafast",
            "crf": "20",
            "bf": "2",
            "g": str(key_every),
            "keyint_min": str(key_every),
        }
        stream.codec_context.time_base = 1 / rate
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, size), format="rgb24")
            frame.pts = index + index // 3 if gaps else index
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
