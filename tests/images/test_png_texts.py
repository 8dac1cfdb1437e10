"""PNGs with large texts and colour profiles: sound files that Pillow alone refuses."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from deepeyes_env.images import codec
from deepeyes_env.images.png import MAX_TEXT, without_texts
from tests.images.image_files import PHOTO, encoded, png_chunk, with_orientation

SMALL = PHOTO[:20, :30]
LARGE = b"x" * (MAX_TEXT + 1)
CHUNKS = {
    "profile": png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(LARGE)),
    "text": png_chunk(b"tEXt", b"Comment\0" + LARGE),
    "packed text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE)),
    "international text": png_chunk(b"iTXt", b"Comment\0\0\0en\0\0" + LARGE),
    "packed international text": png_chunk(b"iTXt", b"Comment\0\1\0en\0\0" + zlib.compress(LARGE)),
    "orientation": png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LARGE)),
    "many texts": png_chunk(b"tEXt", b"Comment\0" + LARGE[: MAX_TEXT // 2]) * 140,
    "a bomb": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**27))),
}


def with_chunk(data, chunk, *, behind=False):
    at = data.index(b"IEND") - 4 if behind else 33
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("behind", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("kind", CHUNKS)
def test_large_texts_and_profiles_do_not_matter(kind, behind):
    data = with_chunk(encoded(SMALL), CHUNKS[kind], behind=behind and kind != "profile")
    assert codec.read_size(data) == (30, 20)
    assert np.array_equal(codec.decode(data), SMALL)
    assert codec.common_format(data) == ""  # others refuse such a file, so it is written anew for them


def test_an_orientation_beside_a_large_text_is_applied():
    turned = with_orientation(SMALL, 6, "PNG")
    assert codec.read_size(with_chunk(turned, CHUNKS["text"])) == (20, 30)


def test_small_texts_stay():
    data = with_chunk(encoded(SMALL), png_chunk(b"tEXt", b"Comment\0hello"))
    assert without_texts(data) is data
    assert codec.common_format(data) == "png"


def test_damaged_files_are_left_to_the_decoder():
    data = with_chunk(encoded(SMALL), CHUNKS["text"])
    for cut in range(0, 60, 7):
        assert without_texts(data[:cut]) == data[:cut]
    assert without_texts(with_chunk(encoded(SMALL), png_chunk(b"zTXt", b"no end"))).startswith(b"\x89PNG")


def test_what_is_left_is_a_png():
    whole = without_texts(with_chunk(encoded(SMALL), CHUNKS["packed text"]))
    assert whole == encoded(SMALL)
    PILImage.open(io.BytesIO(whole)).verify()
