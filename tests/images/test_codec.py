"""The codec: formats and EXIF, arrays, and what is encoded."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageOps

from deepeyes_env.images import codec
from tests.images.image_files import (
    COLOURS,
    PHOTO,
    assert_rgb,
    encoded,
    palette_image,
    png_chunk,
    with_orientation,
)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_unchanged(format):
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(PHOTO, format, **options)
    pixels = codec.decode(data)
    assert_rgb(pixels, 300, 451)
    assert np.array_equal(pixels, PHOTO)
    assert codec.read_size(data) == (451, 300)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, format):
    """The stored image is what a camera held that way writes; decoded, red is top left and blue top right."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = COLOURS[0], COLOURS[2], COLOURS[1]
    # For orientation n: which way from upright to stored, per the EXIF standard's "row 0 is ..., column 0 is ...".
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    data = with_orientation(stored, orientation, format)
    pixels = codec.decode(data)
    assert_rgb(pixels, 32, 64)
    assert codec.read_size(data) == (64, 32)
    tolerance = 0 if format in ("PNG", "TIFF") else 60
    assert np.abs(pixels[4:-4:8, 4:-4:8].astype(int) - upright[4:-4:8, 4:-4:8]).max() <= tolerance
    assert np.array_equal(codec.to_rgb_array(PILImage.open(io.BytesIO(data))), pixels)


def test_exif_behind_the_pixels_of_a_png():
    exif = PILImage.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO)
    data = data[:-12] + png_chunk(b"eXIf", exif.tobytes()[6:]) + data[-12:]
    assert codec.read_size(data) == (300, 451)
    assert np.array_equal(codec.decode(data), np.rot90(PHOTO, -1))


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_nonsense_orientation_is_ignored(orientation):
    data = with_orientation(PHOTO, orientation, "PNG")
    assert np.array_equal(codec.decode(data), PHOTO)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_ignored():
    data = encoded(PHOTO, "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff garbage")
    assert codec.read_size(data) == (451, 300)
    assert codec.decode(data).shape == (300, 451, 3)


def test_an_image_in_memory_is_taken_as_it_is():
    opened = PILImage.open(io.BytesIO(with_orientation(PHOTO, 6, "PNG")))
    assert codec.to_rgb_array(opened).shape == (451, 300, 3)
    assert codec.to_rgb_array(ImageOps.exif_transpose(opened)).shape == (451, 300, 3)
    assert np.array_equal(codec.to_rgb_array(opened.copy()), PHOTO)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(format):
    first, second = (PILImage.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(first, format, save_all=True, append_images=[second], **options)
    assert (codec.decode(data) == COLOURS[0]).all()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays_of_every_accepted_shape(shape):
    array = np.full(shape, 200, np.uint8)
    if shape[-1] == 4:
        array[..., 3] = 255
    pixels = codec.as_rgb_array(array)
    assert_rgb(pixels, 5, 7)
    assert (pixels == 200).all()
    array[:] = 0
    assert (pixels == 200).all()


def test_read_only_arrays_are_shared_unless_something_below_is_writable():
    array = PHOTO.copy()
    view = array[10:20]
    view.flags.writeable = False
    assert not np.shares_memory(codec.as_rgb_array(view), array)
    array.flags.writeable = False
    assert codec.as_rgb_array(array) is array
    assert np.shares_memory(codec.as_rgb_array(array[10:20]), array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused_by_shape_and_dtype(array):
    with pytest.raises(ValueError, match="shape") as caught:
        codec.as_rgb_array(array)
    assert str(array.shape) in str(caught.value)
    assert str(array.dtype) in str(caught.value)


def test_encode_png_is_lossless():
    crop = PHOTO[50:200, 30:301]
    assert np.array_equal(codec.decode(codec.encode(crop)), crop)


def test_encode_refuses_other_formats():
    with pytest.raises(ValueError, match="'webp'"):
        codec.encode(PHOTO, "webp")


def test_many_threads_decode_at_once():
    files = [encoded(PHOTO, "JPEG"), encoded(PHOTO), encoded(palette_image()), with_orientation(PHOTO, 6, "JPEG")]
    expected = [codec.decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(codec.decode, files * 16))
    assert all(np.array_equal(result, expected[i % 4]) for i, result in enumerate(results))
