"""The codec on files that are truncated, damaged, no images, or bombs."""

import warnings
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from deepeyes_env.errors import ImageError
from deepeyes_env.images import codec
from tests.images.image_files import PHOTO, encoded, png_chunk, png_header


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_truncated_files_name_the_image(format, share):
    data = encoded(PHOTO[:100, :100], format)
    with pytest.raises(ImageError, match=r"^image of sample 's7': .*(truncated|damaged).*") as caught:
        codec.decode(data[: int(len(data) * share)], name="of sample 's7'")
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is not None


def test_a_jpeg_without_its_last_bytes_is_truncated():
    data = encoded(PHOTO, "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        codec.decode(data[:-200])


def test_a_png_with_damaged_pixels():
    data = bytearray(encoded(PHOTO))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"image cat\.png: cannot be decoded"):
        codec.decode(bytes(data), name="cat.png")


@pytest.mark.parametrize("read", [codec.decode, codec.read_size])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"P", "is not an image"),
        (b"P5", "header"),
        (b"<!DOCTYPE html><html>404</html>", r"is not an image; .*JPEG, PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is not an image"),
        (b"\x00" * 1000, "is not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "is not an image"),
        (b"\xff\xd8\xff", "header"),
        (b"\x89PNG\r\n\x1a\n", "header"),
    ],
)
def test_what_is_no_image_says_so(read, data, reason):
    with pytest.raises(ImageError, match=rf"^image row 3: .*{reason}"):
        read(data, name="row 3")


def test_any_bytes_give_an_image_or_an_image_error():
    rng = np.random.default_rng(0)
    for format in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"):
        good = encoded(PHOTO[:40, :50], format)
        for _ in range(60):
            data = bytearray(good)
            for position in rng.integers(0, len(data), 4):
                data[position] = rng.integers(0, 256)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pixels = codec.decode(bytes(data))
            except ImageError:
                continue
            assert pixels.ndim == 3


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    data = png_header(60_000, 60_000) + png_chunk(b"IDAT", zlib.compress(b"\x00" * 100)) + png_chunk(b"IEND", b"")
    for read in (codec.decode, codec.read_size):
        with pytest.raises(ImageError, match=r"image bomb\.png: declares 60000 x 60000 pixels.*201326592"):
            read(data, name="bomb.png")


@pytest.mark.parametrize("size", [(16_384, 12_288), (16_320, 12_240), (7_680, 4_320)])
def test_the_largest_photographs_pass_without_a_warning(size):
    width, height = size
    rows = zlib.compressobj(1)
    row = b"\x00" * (1 + (width + 7) // 8)
    idat = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    data = png_header(*size, depth=1, colour=0) + png_chunk(b"IDAT", idat) + png_chunk(b"IEND", b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.read_size(data) == size
    assert width * height <= codec.MAX_PIXELS


def test_pillows_own_limit_is_left_alone(monkeypatch):
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codec.decode(encoded(PHOTO)).shape == (300, 451, 3)
    assert PILImage.MAX_IMAGE_PIXELS == 1000


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_tiff_without_pixels():
    with pytest.raises(ImageError):
        codec.decode(b"II*\x00\x08\x00\x00\x00\x00\x00")
