"""Bounds on JPEGs: files that take minutes to decode, or that declare pixels which they do not hold."""

from __future__ import annotations

import re

import numpy as np

MAX_SCANS = 64
"""Most scans of a JPEG: encoders write up to 14, the format allows any number, and each goes through all pixels."""

MAX_PIXELS_PER_BYTE = 512
"""A Huffman-coded JPEG spends a bit, or more, on each block of 8 x 8 pixels."""

_HUFFMAN = (0xC0, 0xC1, 0xC2)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_MARKER = np.frombuffer(bytes([0xFF, _START_OF_SCAN]), np.uint16)[0]
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than ``MAX_SCANS`` scans."""
    # Counting all that looks like one is quick. What stands behind the picture (a video, say) may look like many.
    return _lookalikes(data) > MAX_SCANS and _scans(data, MAX_SCANS + 1) > MAX_SCANS


def declares_too_much(data: bytes, pixels: int) -> bool:
    """Whether a JPEG is too small to hold the pixels that its header declares; most would be decoded to filler."""
    return pixels > MAX_PIXELS_PER_BYTE * len(data) and _frame_kind(data) in _HUFFMAN


def _lookalikes(data: bytes) -> int:
    found = 0
    for start in (0, 1):
        pairs = np.frombuffer(data, np.uint16, count=(len(data) - start) // 2, offset=start)
        found += int(np.count_nonzero(pairs == _MARKER))
    return found


def _scans(data: bytes, most: int) -> int:
    """Count the scans of the first picture in a file, up to ``most``."""
    at = found = 0
    while found < most and (segment := _NEXT_MARKER.search(data, at)):
        kind, at = data[segment.end() - 1], segment.end()
        if kind == _END_OF_IMAGE:
            break
        found += kind == _START_OF_SCAN
        at += _length(data, at) if kind != 0xD8 else 0
    return found


def _frame_kind(data: bytes) -> int:
    """Return the marker of the header that says how the picture is coded; 0 if there is none."""
    at = 2
    while segment := _NEXT_MARKER.search(data, at):
        kind, at = data[segment.end() - 1], segment.end()
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return kind
        if kind in (_START_OF_SCAN, _END_OF_IMAGE):
            return 0
        at += _length(data, at)
    return 0


def _length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
