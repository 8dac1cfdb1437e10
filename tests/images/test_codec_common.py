"""Files that everybody sees alike."""

import pytest
from PIL import Image as PILImage

from deepeyes_env.images import codec
from tests.images.image_files import GREY, PHOTO, encoded, with_orientation


def two_frames(format):
    frames = [PILImage.fromarray(frame) for frame in (PHOTO[:90, :90], PHOTO[50:140, :90])]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (encoded(PHOTO, "JPEG"), "jpeg"),
        (encoded(PHOTO), "png"),
        (encoded(PHOTO, "WEBP"), "webp"),
        (two_frames("MPO"), "jpeg"),
        (with_orientation(PHOTO, 1, "PNG"), "png"),
        (with_orientation(PHOTO, 6, "JPEG"), ""),
        (with_orientation(PHOTO, 6, "PNG"), ""),
        (two_frames("PNG"), ""),
        (two_frames("WEBP"), ""),
        (encoded(PHOTO, "BMP"), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("CMYK"), "JPEG"), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("RGBA")), ""),
        (encoded(PHOTO, transparency=(0, 0, 0)), ""),
        (encoded(PILImage.fromarray(PHOTO).convert("P")), ""),
        (b"", ""),
        (b"no image", ""),
    ],
)
def test_common_formats_are_known_from_the_header(data, format):
    assert codec.common_format(data) == codec.common_format(data, grey=True) == format


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_grey_is_common_only_where_it_becomes_rgb(format):
    assert codec.common_format(encoded(GREY, format)) == ""
    assert codec.common_format(encoded(GREY, format), grey=True) == format.lower()


def test_a_common_format_is_told_without_decoding():
    assert codec.common_format(encoded(PHOTO)[:5000]) == "png"
