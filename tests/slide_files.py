"""Writes tiled TIFF files from tiles that are encoded already; equal tiles are stored once."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

_SHORT, _LONG, _LONG8 = 3, 4, 16


@dataclass(frozen=True)
class Level:
    """One level of a pyramid: its size, and the encoded tile at each column and row."""

    size: tuple[int, int]
    tile: Callable[[int, int], bytes]


def jpeg_tile(pixels: np.ndarray) -> bytes:
    """Encode a tile as TIFF holds it."""
    buffer = io.BytesIO()
    PILImage.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=90, subsampling="4:4:4")
    return buffer.getvalue()


def levels_of(pixels: np.ndarray, side: int, steps: Sequence[int] = (1, 4)) -> list[Level]:
    """Make the levels of a real image, each smaller by a step."""
    return [_level(np.asarray(PILImage.fromarray(pixels).reduce(step)), side) for step in steps]


def _level(pixels: np.ndarray, side: int) -> Level:
    height, width = pixels.shape[:2]
    padded = np.pad(pixels, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")

    def tile(column: int, row: int) -> bytes:
        return jpeg_tile(padded[row * side : (row + 1) * side, column * side : (column + 1) * side])

    return Level((width, height), tile)


def write_slide(path: Path, levels: Sequence[Level], side: int) -> None:
    """Write a BigTIFF of JPEG tiles of ``side`` x ``side`` pixels, the finest level first."""
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        link, stored = 8, {}
        for number, level in enumerate(levels):
            width, height = level.size
            offsets, counts = [], []
            for row in range(-(-height // side)):
                for column in range(-(-width // side)):
                    data = level.tile(column, row)
                    if data not in stored:
                        stored[data] = file.tell()
                        file.write(data)
                    offsets.append(stored[data])
                    counts.append(len(data))
            tags = {
                254: (_LONG, [int(number > 0)]),
                256: (_LONG, [width]),
                257: (_LONG, [height]),
                258: (_SHORT, [8, 8, 8]),
                259: (_SHORT, [7]),  # JPEG
                262: (_SHORT, [6]),  # YCbCr
                277: (_SHORT, [3]),
                284: (_SHORT, [1]),
                322: (_LONG, [side]),
                323: (_LONG, [side]),
                324: (_LONG8, offsets),
                325: (_LONG, counts),
                530: (_SHORT, [1, 1]),
            }
            entries = [_entry(file, tag, kind, values) for tag, (kind, values) in tags.items()]
            file.write(b"\0" * (-file.tell() % 8))
            here = file.tell()
            file.write(struct.pack("<Q", len(entries)) + b"".join(entries) + bytes(8))
            end = file.tell()
            file.seek(link)
            file.write(struct.pack("<Q", here))
            file.seek(end)
            link = end - 8


def _entry(file: io.BufferedWriter, tag: int, kind: int, values: Sequence[int]) -> bytes:
    packed = np.array(values, {_SHORT: "<u2", _LONG: "<u4", _LONG8: "<u8"}[kind]).tobytes()
    if len(packed) > 8:
        file.write(b"\0" * (-file.tell() % 8))
        where = file.tell()
        file.write(packed)
        packed = struct.pack("<Q", where)
    return struct.pack("<HHQ", tag, kind, len(values)) + packed.ljust(8, b"\0")
