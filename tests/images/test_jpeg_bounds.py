"""JPEGs that would take minutes to decode, or declare what they do not hold, are refused before they are decoded."""

import io
import struct

import pytest
from PIL import Image as PILImage

from deepeyes_env.errors import ImageError
from deepeyes_env.images import codec
from deepeyes_env.images.jpeg_bounds import MAX_SCANS
from tests.images.image_files import PHOTO, encoded

PROGRESSIVE = encoded(PHOTO[:64, :64], "JPEG", progressive=True)


def repeated(data, times):
    """A JPEG with its last scan once more, so many times."""
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * times + b"\xff\xd9"


@pytest.mark.parametrize("options", [{"progressive": True}, {}])
def test_a_jpeg_of_thousands_of_scans_is_refused(options):
    data = repeated(encoded(PHOTO[:64, :64], "JPEG", **options), 5000)
    with pytest.raises(ImageError, match=rf"^image bomb: has more than {MAX_SCANS} scans, .*write it again"):
        codec.decode(data, name="bomb")


def test_as_many_scans_as_encoders_write_are_decoded():
    assert codec.decode(repeated(PROGRESSIVE, 20)).shape == (64, 64, 3)


def test_a_video_behind_the_picture_holds_no_scans():
    """Phones put one there; bytes that look like the start of a scan are frequent in it."""
    assert codec.decode(PROGRESSIVE + b"\xff\xda\x00" * 5000).shape == (64, 64, 3)


def test_a_thumbnail_in_a_segment_holds_no_scans():
    inside = b"\xff\xda" * 1000
    segment = b"\xff\xef" + struct.pack(">H", len(inside) + 2) + inside
    assert codec.decode(PROGRESSIVE[:2] + segment + PROGRESSIVE[2:]).shape == (64, 64, 3)


def declaring(data, width, height):
    """A JPEG whose header declares another size."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@pytest.mark.parametrize("read", [codec.decode, codec.read_size])
@pytest.mark.parametrize("options", [{"progressive": True}, {}])
def test_a_jpeg_that_declares_far_more_than_it_holds_is_refused(read, options):
    data = declaring(encoded(PHOTO[:64, :64], "JPEG", **options), 16_000, 12_000)
    with pytest.raises(ImageError, match=r"declares 16000 x 12000 pixels, many more than its \d+ bytes hold"):
        read(data, name="huge.jpg")


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"subsampling": "4:2:0", "quality": 1}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_emptiest_picture_is_no_bomb(mode, options):
    file = io.BytesIO()
    PILImage.new(mode, (2000, 1500)).save(file, "JPEG", **options)
    assert codec.decode(file.getvalue()).shape == (1500, 2000, 3)
