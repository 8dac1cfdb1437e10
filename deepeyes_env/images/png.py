"""PNG: written quickly, and read without the texts in it that no picture needs.

Crops are recorded by the thousand, and no other file is as slow to write: Pillow tries five filters on every row, which
alone takes longer than all that is done here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT, _RGB = 8, 2
_UP = 2

_PROFILE, _TEXTS = b"iCCP", (b"tEXt", b"zTXt", b"iTXt")
_TURNING = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""How texts begin that may say which way is up."""

MAX_TEXT = 2**20
"""Bytes, packed and unpacked, of a text or colour profile; Pillow refuses a file with a larger one."""


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels as a PNG file (ISO/IEC 15948): lossless, about as large as Pillow's at ``compress_level=1``.

    Every row is filtered with *Up*, the difference from the row above. Compression is by ISA-L (the ``isal`` package)
    where it is installed, else by zlib.

    Args:
        pixels: ``(H, W, 3)`` ``uint8`` RGB, at least one pixel.
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]  # above the first row is black
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the format wants it
    header = struct.pack(">IIBBBBB", width, height, _EIGHT_BIT, _RGB, 0, 0, 0)
    data = _compressed(filtered.data)
    return b"".join((_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", data), *_chunk(b"IEND", b"")))


def without_texts(data: bytes) -> bytes:
    """Return a PNG without its texts and its colour profile, where one of them, or all together, exceed ``MAX_TEXT``.

    The texts that may hold an orientation stay unless they are too large themselves. Pixels are taken as sRGB whatever
    the profile, so that no picture changes. Never unpacks more than ``MAX_TEXT`` of a chunk. Any other file is returned
    as it is, a damaged one too: whoever decodes it says what is wrong.
    """
    if not data.startswith(_SIGNATURE):
        return data
    texts = [chunk for chunk in _chunks(data) if data[chunk.start + 4 : chunk.start + 8] in (_PROFILE, *_TEXTS)]
    sizes = [_unpacked_size(data[chunk.start + 4 : chunk.stop - 4]) for chunk in texts]
    if sum(sizes) <= MAX_TEXT:
        return data
    kept, at = [], 0
    for chunk, size in zip(texts, sizes, strict=True):
        if size > MAX_TEXT or not data.startswith(_TURNING, chunk.start + 8):
            kept.append(data[at : chunk.start])
            at = chunk.stop
    return b"".join((*kept, data[at:]))


def _chunks(data: bytes) -> Iterator[slice]:
    """Yield where each whole chunk stands: length, kind, content and checksum."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if stop > len(data):
            return
        yield slice(at, stop)
        at = stop


def _unpacked_size(chunk: bytes) -> int:
    """Return the bytes of a text's or profile's chunk once unpacked; more than ``MAX_TEXT`` is not counted on."""
    kind, (_, _, rest) = chunk[:4], chunk[4:].partition(b"\0")
    if kind == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].split(b"\0", 2)[-1]
    elif kind in (_PROFILE, b"zTXt"):
        packed = rest[1:]
    else:
        return len(chunk)
    try:
        unpacked = len(zlib.decompressobj().decompress(packed, MAX_TEXT + 1))
    except zlib.error:  # Pillow leaves such a text out.
        unpacked = 0
    return max(len(chunk), unpacked)


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def _compressed(data: memoryview) -> bytes:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compress(data, 1)
    return isal_zlib.compress(data, isal_zlib.ISAL_DEFAULT_COMPRESSION)
