import re
import sys

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageDraw

from deepeyes_env.errors import MissingExtraError
from deepeyes_env.extras import install_command
from deepeyes_env.images import ops

torch = pytest.importorskip("torch")


def frozen(array):
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def page():
    image = PILImage.new("RGB", (400, 300), "white")
    draw = ImageDraw.Draw(image)
    for y in range(2, 300, 12):
        draw.text((3, y), "The lamp 17 is RED, see table 4.2 on page 1093; " * 2, fill=(y % 90, 0, 30))
    return np.array(image)


SOURCES = {
    "photo": frozen(skimage.data.chelsea()),
    "noise": frozen(np.random.default_rng(0).integers(0, 256, (300, 451, 3), dtype=np.uint8)),
    "page": frozen(page()),
    "checkerboard": frozen(np.indices((300, 400)).sum(0)[..., None].repeat(3, 2) % 2 * 255).astype(np.uint8),
}
CROPS = {
    "whole": (0, 0, 400, 300),
    "middle": (31, 17, 290, 213),
    "corner": (301, 211, 400, 300),
    "one row": (5, 100, 395, 101),
    "one column": (100, 5, 101, 295),
    "one pixel": (7, 9, 8, 10),
}
SIZES = [(28, 28), (56, 84), (252, 168), (308, 420), (448, 56), (29, 500), (400, 13)]


def pillow_resize(pixels, size):
    return np.asarray(PILImage.fromarray(pixels.copy()).resize(size, PILImage.Resampling.BICUBIC))


def assert_read_only(pixels):
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0, 0] = 1


def test_crop_is_a_view_of_the_box():
    photo = SOURCES["photo"]
    cut = ops.crop(photo, (30, 10, 130, 60))
    assert np.shares_memory(cut, photo)
    assert np.array_equal(cut, np.asarray(PILImage.fromarray(photo).crop((30, 10, 130, 60))))
    assert_read_only(cut)
    assert ops.crop(photo, (0, 0, 451, 300)).shape == photo.shape


def test_crop_of_a_writable_image_is_read_only_and_leaves_the_image_writable():
    photo = SOURCES["photo"].copy()
    assert_read_only(ops.crop(photo, (0, 0, 5, 5)))
    photo[0, 0] = 1


@pytest.mark.parametrize(
    "box", [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 452, 5), (0, 0, 5, 301), (5, 0, 5, 5), (0, 6, 5, 5), (500, 0, 600, 5)]
)
def test_crop_outside_the_image_names_box_and_image(box):
    with pytest.raises(ValueError, match="451 x 300") as caught:
        ops.crop(SOURCES["photo"], box)
    assert str(box) in str(caught.value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("box", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("source", SOURCES)
def test_fit(source, box, size):
    """Exact: no difference to Pillow on the crop alone. Fast: at most two levels. Both on non-contiguous crops."""
    cut = ops.crop(SOURCES[source], box)
    expected = pillow_resize(cut, size)
    for mode, tolerance in (("exact", 0), ("fast", 2)):
        fitted = ops.fit(cut, size, mode)
        assert fitted.shape == (size[1], size[0], 3)
        assert fitted.dtype == np.uint8
        assert fitted.flags.c_contiguous
        assert_read_only(fitted)
        assert np.abs(fitted.astype(int) - expected).max() <= tolerance, mode


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fit_of_any_crop_to_any_size(data):
    source = SOURCES[data.draw(st.sampled_from(sorted(SOURCES)))]
    x1, y1 = data.draw(st.integers(0, 399)), data.draw(st.integers(0, 299))
    x2, y2 = data.draw(st.integers(x1 + 1, 400)), data.draw(st.integers(y1 + 1, 300))
    size = data.draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    cut = ops.crop(source, (x1, y1, x2, y2))
    expected = pillow_resize(cut, size)
    assert np.array_equal(ops.fit(cut, size), expected)
    assert np.abs(ops.fit(cut, size, "fast").astype(int) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_fit_sees_nothing_from_outside_the_crop(mode):
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 20:40] = 100
    image = frozen(image)
    assert (ops.fit(ops.crop(image, (20, 20, 40, 40)), (84, 84), mode) == 100).all()


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_fit_to_its_own_size_returns_the_image_itself(mode):
    photo = SOURCES["photo"]
    assert ops.fit(photo, (451, 300), mode) is photo
    cut = ops.crop(photo, (10, 10, 66, 66))
    assert ops.fit(cut, (56, 56), mode) is cut


@pytest.mark.parametrize(
    "turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: np.rot90(a), lambda a: a[::2, ::3]]
)
def test_fit_takes_any_memory_layout(turn):
    pixels = turn(SOURCES["photo"])
    expected = pillow_resize(pixels, (140, 112))
    assert np.array_equal(ops.fit(pixels, (140, 112)), expected)
    assert np.abs(ops.fit(pixels, (140, 112), "fast").astype(int) - expected).max() <= 2


def test_fast_fit_neither_warns_nor_changes_the_thread_count(recwarn):
    threads = torch.get_num_threads()
    ops.fit(SOURCES["photo"], (140, 112), "fast")
    assert not recwarn.list
    assert torch.get_num_threads() == threads


def test_fast_fit_with_libraries_that_cannot_hand_over_read_only_memory(monkeypatch):
    expected = ops.fit(SOURCES["photo"], (140, 112), "fast")

    def refuse(array):
        raise BufferError("readonly")

    monkeypatch.setattr(torch.utils.dlpack, "from_dlpack", refuse)
    assert np.array_equal(ops.fit(SOURCES["photo"], (140, 112), "fast"), expected)


def test_fast_fit_without_torch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=re.escape(f"torch is not installed; run: {install_command('fast')}")):
        ops.fit(SOURCES["photo"], (28, 28), "fast")
    assert ops.fit(SOURCES["photo"], (28, 28)).shape == (28, 28, 3)


def test_fit_refuses_unknown_modes_and_empty_sizes():
    with pytest.raises(ValueError, match="'bilinear'"):
        ops.fit(SOURCES["photo"], (28, 28), "bilinear")
    with pytest.raises(ValueError, match="0 x 28"):
        ops.fit(SOURCES["photo"], (0, 28))


MARKED = frozen(np.zeros((20, 40, 3), np.uint8) + np.array([0, 0, 9], np.uint8))
MARKED = MARKED.copy()
MARKED[:5, :5] = (255, 0, 0)  # top left
MARKED = frozen(MARKED)


@pytest.mark.parametrize(
    ("angle", "corner", "size"),
    [
        (90, (0, -1), (40, 20)),  # clockwise: top left goes to top right
        (180, (-1, -1), (20, 40)),
        (270, (-1, 0), (40, 20)),
        (-90, (-1, 0), (40, 20)),
        (-270, (0, -1), (40, 20)),
        (-180, (-1, -1), (20, 40)),
        (450, (0, -1), (40, 20)),
        (90.0, (0, -1), (40, 20)),
    ],
)
def test_quarter_turns_are_clockwise_and_exact(angle, corner, size):
    turned = ops.rotate(MARKED, angle)
    assert turned.shape[:2] == size
    assert turned[corner].tolist() == [255, 0, 0]
    assert (turned == (255, 0, 0)).all(-1).sum() == 25
    assert_read_only(turned)
    assert turned.flags.c_contiguous
    photo = SOURCES["photo"]
    assert np.array_equal(ops.rotate(photo, angle), np.rot90(photo, -round(angle / 90)))
    assert np.array_equal(ops.rotate(ops.rotate(photo, angle), -angle), photo)


@pytest.mark.parametrize("angle", [0, 360, -720, 0.0, -0.0])
def test_full_turns_return_the_image_itself(angle):
    assert ops.rotate(MARKED, angle) is MARKED


@pytest.mark.parametrize("angle", [1, 30, 45, 89.9, 123.4, -15, 200, 359, -400])
def test_other_angles_keep_the_whole_image(angle):
    white = frozen(np.full((120, 200, 3), 255, np.uint8))
    turned = ops.rotate(white, angle)
    radians = np.deg2rad(angle)
    width = 200 * abs(np.cos(radians)) + 120 * abs(np.sin(radians))
    height = 200 * abs(np.sin(radians)) + 120 * abs(np.cos(radians))
    assert turned.shape[:2] == pytest.approx((height, width), abs=2)
    assert (turned[..., 0] > 127).sum() == pytest.approx(200 * 120, rel=0.01)
    assert_read_only(turned)


@pytest.mark.parametrize(("angle", "where"), [(30, "right"), (-30, "left")])
def test_small_positive_angles_turn_clockwise(angle, where):
    """Clockwise, a mark in the middle of the top edge moves to the right."""
    image = np.zeros((101, 101, 3), np.uint8)
    image[:11, 45:56] = 255
    turned = ops.rotate(frozen(image), angle)
    x = np.nonzero(turned[..., 0] > 127)[1].mean()
    assert (x > turned.shape[1] / 2 + 10) == (where == "right")
    assert (x < turned.shape[1] / 2 - 10) == (where == "left")


def test_angles_next_to_a_quarter_turn_and_huge_ones():
    assert ops.rotate(MARKED, 90 + 1e-12).shape[:2] == pytest.approx((40, 20), abs=2)
    assert ops.rotate(MARKED, 1e18).ndim == 3
    assert ops.rotate(MARKED, -1e-300).shape[:2] == pytest.approx((20, 40), abs=2)


@pytest.mark.parametrize("angle", [float("nan"), float("inf"), -float("inf")])
def test_angles_must_be_finite(angle):
    with pytest.raises(ValueError, match="finite"):
        ops.rotate(MARKED, angle)
