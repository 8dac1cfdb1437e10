"""JPEG: with and without simplejpeg, and the resolution of colours."""

import io
import sys

import numpy as np
import pytest
import simplejpeg
from PIL import Image as PILImage

from deepeyes_env.images import codec
from tests.images.image_files import (
    PHOTO,
    assert_rgb,
    encoded,
)

JPEGS = {
    "4:2:0": {"quality": 90, "subsampling": 2},
    "4:2:2": {"quality": 60, "subsampling": 1},
    "4:4:4": {"quality": 98, "subsampling": 0},
    "progressive": {"quality": 80, "progressive": True},
    "RGB": {"quality": 90, "keep_rgb": True},
    "restart markers": {"quality": 85, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize(
    "image", [PHOTO, PHOTO[:37, :53], PHOTO[:1, :9], PHOTO[..., 0]], ids=["even", "odd", "thin", "grey"]
)
def test_simplejpeg_equals_pillow(image, options, monkeypatch):
    data = encoded(np.ascontiguousarray(image), "JPEG", **({} if image.ndim == 2 else options))
    expected = np.asarray(PILImage.open(io.BytesIO(data)).convert("RGB"))
    pixels = codec.decode(data)
    assert_rgb(pixels, *image.shape[:2])
    assert np.array_equal(pixels, expected)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert np.array_equal(codec.decode(data), expected)


def test_simplejpeg_is_used_and_pillow_reads_what_it_refuses(monkeypatch):
    data = encoded(PHOTO, "JPEG")
    expected = codec.decode(data)
    calls = []

    def refuse(*args, **kwargs):
        calls.append(args)
        raise ValueError("refused")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    assert np.array_equal(codec.decode(data), expected)
    assert len(calls) == 1


def test_multi_picture_jpegs_give_their_first_picture():
    first, second = PILImage.fromarray(PHOTO), PILImage.new("RGB", (20, 20))
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert PILImage.open(io.BytesIO(data)).format == "MPO"
    assert np.array_equal(codec.decode(data), np.asarray(PILImage.open(io.BytesIO(data))))


def test_encode_jpeg_keeps_full_chroma_with_and_without_simplejpeg(monkeypatch):
    crop = PHOTO[50:200, 30:301]
    quick = codec.encode(crop, "jpeg")
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    slow = codec.encode(crop, "jpeg")
    for data in (quick, slow):
        opened = PILImage.open(io.BytesIO(data))
        assert (opened.format, opened.size) == ("JPEG", (271, 150))
        assert {sampling[1:3] for sampling in opened.layer} == {(1, 1)}
        assert np.abs(codec.decode(data).astype(int) - crop).mean() < 3
    assert len(codec.encode(crop, "jpeg", quality=30)) < len(slow) / 2


@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:0"])
def test_the_resolution_of_colours_is_written_and_read(chroma, monkeypatch):
    quick = codec.encode(PHOTO, "jpeg", chroma=chroma)
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    for data in (quick, codec.encode(PHOTO, "jpeg", chroma=chroma)):
        assert codec.chroma_of(data) == chroma
        assert codec.chroma_of(data[:400]) == "4:4:4"  # cut off in the header
        assert codec.chroma_of(data[: len(data) // 2]) == chroma


def test_colours_of_anything_but_a_halved_jpeg_are_full():
    def saved(format, mode="RGB", **options):
        buffer = io.BytesIO()
        PILImage.fromarray(PHOTO).convert(mode).save(buffer, format, **options)
        return buffer.getvalue()

    others = (saved("PNG"), saved("WEBP"), saved("JPEG", subsampling="4:2:2"), saved("JPEG", "L"), b"", b"?")
    assert {codec.chroma_of(data) for data in others} == {"4:4:4"}
