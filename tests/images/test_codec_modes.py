"""The codec on every colour mode: palettes, transparency, 16 bits, grey, CMYK."""

import io
import struct

import numpy as np
import pytest
from PIL import Image as PILImage

from deepeyes_env.images import codec
from tests.images.image_files import (
    COLOURS,
    GREY,
    PHOTO,
    assert_rgb,
    encoded,
    palette_image,
    png,
    png_chunk,
)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette(format):
    assert np.array_equal(codec.decode(encoded(palette_image(), format)), COLOURS.reshape(2, 2, 3))


def test_palette_with_a_transparent_entry_is_laid_on_white():
    expected = COLOURS.copy()
    expected[2] = 255
    for format in ("PNG", "GIF"):
        pixels = codec.decode(encoded(palette_image(), format, transparency=2))
        assert np.array_equal(pixels, expected.reshape(2, 2, 3)), format


def test_palette_with_alpha_per_entry_is_laid_on_white():
    pixels = codec.decode(encoded(palette_image(), transparency=bytes([255, 128, 0, 255])))
    assert np.array_equal(pixels.reshape(4, 3), [[255, 0, 0], [127, 255, 127], [255, 255, 255], [255, 255, 255]])


def test_rgba_is_laid_on_white():
    rgba = np.dstack([PHOTO, np.add.outer(np.arange(300), np.arange(451)).astype(np.uint8)])
    pixels = codec.decode(encoded(rgba))
    assert_rgb(pixels, 300, 451)
    alpha = rgba[..., 3:].astype(float) / 255
    assert np.abs(pixels - (PHOTO * alpha + 255 * (1 - alpha))).max() <= 1
    assert np.array_equal(codec.as_rgb_array(rgba), pixels)


def test_grey_with_alpha_is_laid_on_white():
    image = PILImage.fromarray(np.dstack([GREY, np.full_like(GREY, 0)]), "LA")
    assert (codec.decode(encoded(image)) == 255).all()
    image = PILImage.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA")
    assert np.array_equal(codec.decode(encoded(image)), np.dstack([GREY] * 3))


def test_palette_with_an_alpha_channel_in_memory():
    image = palette_image().convert("PA")
    image.putalpha(PILImage.fromarray(np.array([[0, 255], [255, 255]], np.uint8)))
    expected = COLOURS.reshape(2, 2, 3).copy()
    expected[0, 0] = 255
    assert np.array_equal(codec.to_rgb_array(image), expected)


def test_a_transparent_colour_is_laid_on_white():
    pixels = codec.decode(encoded(COLOURS.reshape(2, 2, 3), transparency=(0, 255, 0)))
    assert np.array_equal(pixels.reshape(4, 3), [[255, 0, 0], [255, 255, 255], [0, 0, 255], [255, 255, 255]])


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_16_bit_grey_is_scaled_not_clipped(byte_order):
    samples = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    expected = np.dstack([samples >> 8] * 3)
    assert np.array_equal(codec.decode(png(samples, 16, 0)), expected)
    tiff = encoded(PILImage.fromarray(samples), "TIFF")
    assert np.array_equal(codec.decode(tiff), expected)
    in_memory = PILImage.fromarray(samples.astype(f"{byte_order}u2"))
    assert in_memory.mode.startswith("I;16")
    assert np.array_equal(codec.to_rgb_array(in_memory), expected)


def test_16_bit_rgb_rgba_and_grey_alpha_png():
    samples = np.linspace(0, 65535, 20 * 30 * 3).astype(np.uint16).reshape(20, 30, 3)
    assert np.array_equal(codec.decode(png(samples, 16, 2)), samples >> 8)
    opaque = np.full((20, 30, 1), 65535, np.uint16)
    assert np.array_equal(codec.decode(png(np.dstack([samples, opaque]), 16, 6)), samples >> 8)
    grey = samples[..., :1]
    assert np.array_equal(codec.decode(png(np.dstack([grey, opaque]), 16, 4)), np.dstack([grey >> 8] * 3))


def test_16_bit_png_with_a_transparent_colour():
    samples = np.full((4, 4, 3), 40_000, np.uint16)
    data = png(samples, 16, 2, png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)))
    assert (codec.decode(data) == 40_000 >> 8).all()


def test_32_bit_integers_are_read_as_16_bit():
    samples = np.array([[-5, 0, 255, 256], [30_000, 65_535, 70_000, 2**31 - 1]], np.int32)
    image = PILImage.fromarray(samples)
    assert image.mode == "I"
    assert codec.to_rgb_array(image)[..., 0].tolist() == [[0, 0, 0, 1], [117, 255, 255, 255]]


def test_floats_are_levels_from_0_to_255():
    samples = np.array([[-1, 0, 0.6, 254.7], [255, 1e9, np.inf, np.nan]], np.float32)
    image = PILImage.fromarray(samples)
    assert image.mode == "F"
    assert codec.to_rgb_array(image)[..., 1].tolist() == [[0, 0, 1, 255], [255, 255, 255, 0]]


def test_grey_and_1_bit():
    assert np.array_equal(codec.decode(encoded(GREY)), np.dstack([GREY] * 3))
    bits = GREY > 100
    data = encoded(PILImage.fromarray(bits))
    assert PILImage.open(io.BytesIO(data)).mode == "1"
    assert np.array_equal(codec.decode(data), np.dstack([bits] * 3) * 255)


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format):
    cmyk = PILImage.fromarray(PHOTO).convert("CMYK")
    data = encoded(cmyk, format, **({"quality": 100} if format == "JPEG" else {}))
    opened = PILImage.open(io.BytesIO(data))
    assert opened.mode == "CMYK"
    pixels = codec.decode(data)
    assert_rgb(pixels, 300, 451)
    assert np.array_equal(pixels, np.asarray(opened.convert("RGB")))
    assert np.abs(pixels.astype(int) - PHOTO).mean() < 4


@pytest.mark.parametrize("shape", [(1, 500, 3), (500, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_one_pixel_high_or_wide(shape, format):
    data = encoded(np.full(shape, 90, np.uint8), format)
    assert_rgb(codec.decode(data), *shape[:2])
    assert codec.read_size(data) == (shape[1], shape[0])
