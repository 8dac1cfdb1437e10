"""Pillow images of arrays: equal to Pillow's own in every way that processors, servers and trainers look at them."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageChops, ImageDraw

from deepeyes_env.images.pil import PixelImage, to_pil

WAYS = {
    "array": np.asarray,
    "copied": lambda image: np.array(image, copy=True),
    "bytes": lambda image: image.tobytes(),
    "pickle": lambda image: np.asarray(pickle.loads(pickle.dumps(image))),
    "old pickle": lambda image: np.asarray(pickle.loads(pickle.dumps(image, protocol=2))),
    "deep copy": lambda image: np.asarray(copy.deepcopy(image)),
    "convert": lambda image: np.asarray(image.convert("RGB")),
    "resize": lambda image: np.asarray(image.resize((7, 5), PILImage.Resampling.BICUBIC)),
    "crop": lambda image: np.asarray(image.crop((1, 0, 3, 2))),
    "pixel": lambda image: image.getpixel((0, 0)),
    "difference": lambda image: ImageChops.difference(image, image.transpose(PILImage.Transpose.ROTATE_180)).getbbox(),
    "pasted": lambda image: _pasted(image).tobytes(),
    "context": lambda image: image.__enter__().size,
    "thumbnail": lambda image: (image.thumbnail((9, 9)), image.size, image.tobytes()),
}


def _pasted(image):
    sheet = PILImage.new("RGB", (60, 60))
    sheet.paste(image, (3, 4))
    return sheet


def frozen(size=(40, 50)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels.flags.writeable = False
    return pixels


@pytest.mark.parametrize("ours", [True, False], ids=["frozen", "writable"])
@pytest.mark.parametrize(
    "part",
    [
        np.s_[:, :],
        np.s_[7:20, 5:31],
        np.s_[-1:, -1:],
        np.s_[:0, :],
        np.s_[::2, :],
        np.s_[::-1, :],
        np.s_[:, ::2],
        np.s_[:, :, ::-1],
        np.s_[:1, 3:],
    ],
)
def test_an_array_becomes_the_pil_image_of_it(part, ours):
    pixels = (frozen() if ours else frozen().copy())[part]
    image, same = to_pil(pixels), PILImage.fromarray(pixels)
    assert (image.mode, image.size) == (same.mode, same.size)
    assert np.array_equal(np.asarray(image), pixels)
    assert image.tobytes() == same.tobytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [None, "array", "pickle", "pixel"])
def test_it_looks_like_pillows_own_however_it_is_looked_at(way, first):
    pixels = frozen()[7:20, 5:31]
    image, same = to_pil(pixels), PILImage.fromarray(pixels)
    if first is not None:
        WAYS[first](image)
    assert repr(WAYS[way](image)) == repr(WAYS[way](same))


def test_a_frozen_array_is_not_copied():
    pixels = frozen()
    image = to_pil(pixels[7:20, 5:31])
    assert np.shares_memory(np.asarray(image), pixels)
    assert not np.asarray(image).flags.writeable


def test_an_array_of_it_keeps_the_pixels_when_the_image_is_loaded_and_gone():
    pixels = frozen()
    expected = pixels.copy()
    image = to_pil(pixels)
    array = np.asarray(image)
    image.load()
    owner = weakref.ref(pixels)
    del image, pixels
    gc.collect()
    assert owner() is not None
    assert np.array_equal(array, expected)
    del array
    gc.collect()
    assert owner() is None


def test_a_pil_image_keeps_what_it_was_made_of():
    pixels = frozen().copy()
    image = to_pil(pixels[3:9])
    expected = pixels[3:9].copy()
    pixels[:] = 9
    assert np.array_equal(np.asarray(image), expected)


def test_what_is_drawn_on_it_is_its_own():
    pixels = frozen()
    expected = pixels.copy()
    image = to_pil(pixels)
    ImageDraw.Draw(image).rectangle((2, 2, 9, 9), fill=(1, 2, 3))
    image.putpixel((20, 20), (4, 5, 6))
    assert np.array_equal(pixels, expected)
    for seen in (image, pickle.loads(pickle.dumps(image)), image.copy()):
        assert np.asarray(seen)[5, 5].tolist() == [1, 2, 3]
        assert np.asarray(seen)[20, 20].tolist() == [4, 5, 6]


def test_elsewhere_it_is_a_plain_image_that_needs_nothing_of_ours():
    image = to_pil(frozen()[7:20, 5:31])
    sent = pickle.dumps(image)
    assert isinstance(image, PixelImage)
    assert type(pickle.loads(sent)) is PILImage.Image
    assert b"deepeyes" not in sent


def test_its_pixels_travel_out_of_band():
    buffers = []
    image = to_pil(frozen((400, 500))[7:207, 5:310])
    sent = pickle.dumps(image, protocol=5, buffer_callback=buffers.append)
    assert len(sent) < 1000
    assert np.array_equal(np.asarray(pickle.loads(sent, buffers=buffers)), np.asarray(image))


def test_what_is_noted_about_it_travels_with_it():
    image = to_pil(frozen())
    image.info["dpi"] = (72, 72)
    arrived = pickle.loads(pickle.dumps(image))
    assert arrived.info == {"dpi": (72, 72)}
    assert np.array_equal(np.asarray(arrived), frozen())
