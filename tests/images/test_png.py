"""PNG files of our own writing, read by Pillow."""

import io
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from deepeyes_env.images.png import encode_png
from tests.conftest import pattern


@pytest.fixture(params=["isal", "zlib"])
def library(request, monkeypatch):
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal", None)
    return request.param


def read(data):
    """Read a file, checksums included."""
    Image.open(io.BytesIO(data)).verify()
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_any_pixels_come_back(library, pixels):
    assert np.array_equal(read(encode_png(pixels)), pixels)


def test_a_crop_that_is_a_view_comes_back(library):
    crop = pattern(300, 200)[17:150, 31:280]
    assert not crop.flags.c_contiguous
    assert np.array_equal(read(encode_png(crop)), crop)


def test_photographs_take_about_the_space_that_pillow_needs(library):
    photo = pytest.importorskip("skimage.data").astronaut()
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG", compress_level=1)
    assert len(encode_png(photo)) < 1.15 * len(buffer.getvalue())
