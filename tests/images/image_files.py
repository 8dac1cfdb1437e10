"""Image files of many kinds, made or written by hand, for the tests of the codec."""

import io
import struct
import zlib

import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage

PHOTO = skimage.data.chelsea()  # 300 x 451


GREY = np.add.outer(np.arange(20), np.arange(30) * 8).astype(np.uint8)


COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, PILImage.Image) else PILImage.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def with_orientation(image, orientation, format):
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if format == "JPEG" else {}
    return encoded(image, format, exif=exif, **options)


def png_chunk(kind, payload):
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_header(width, height, depth=8, colour=2):
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png(samples, depth, colour, *chunks):
    """A PNG written by hand, for kinds that Pillow cannot write."""
    rows = b"".join(b"\x00" + row.astype(f">u{depth // 8}").tobytes() for row in samples)
    idat = png_chunk(b"IDAT", zlib.compress(rows))
    head = png_header(samples.shape[1], samples.shape[0], depth, colour)
    return head + b"".join(chunks) + idat + png_chunk(b"IEND", b"")


def assert_rgb(pixels, height, width):
    assert pixels.shape == (height, width, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def palette_image():
    image = PILImage.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2), "P")
    image.putpalette(COLOURS.tobytes())
    return image
