import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env.images import frames

# Sixty-fourths of a pixel: exact in floats, so that products neither round nor vanish.
numbers = st.integers(-(2**20), 2**20).map(lambda n: n / 64)
boxes = st.tuples(numbers, numbers, numbers, numbers)
sizes = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))
frame_names = st.sampled_from(frames.FRAMES)


@settings(deadline=None)
@given(boxes, frame_names, sizes, sizes)
def test_conversion_to_native_and_back_is_the_identity(box, frame, native, view):
    there = frames.to_native(box, frame, native, view)
    back = frames.from_native(there, frame, native, view)
    assert back == pytest.approx(box, rel=1e-12, abs=1e-9)


@settings(deadline=None)
@given(frame_names, sizes, sizes)
def test_the_whole_image_is_the_whole_image_in_every_frame(frame, native, view):
    width, height = frames.frame_size(frame, native, view)
    assert frames.to_native((0, 0, width, height), frame, native, view) == pytest.approx((0, 0, *native))
    assert frames.from_native((0, 0, *native), frame, native, view) == pytest.approx((0, 0, width, height))


@pytest.mark.parametrize(
    ("frame", "box"),
    [
        ("native", (400, 200, 800, 600)),
        ("view", (100, 40, 200, 120)),
        ("norm1000", (100, 100, 200, 300)),
        ("unit", (0.1, 0.1, 0.2, 0.3)),
    ],
)
def test_one_box_written_in_each_frame(frame, box):
    native, view = (4000, 2000), (1000, 400)
    assert frames.to_native(box, frame, native, view) == pytest.approx((400, 200, 800, 600))
    assert frames.from_native((400, 200, 800, 600), frame, native, view) == pytest.approx(box)


def test_native_boxes_pass_through_untouched():
    box = (0.1, 0.2, 0.3, 0.7)
    assert frames.to_native(box, "native", (3, 7), (9, 11)) is box
    assert frames.to_native(box, "view", (3, 7), (3, 7)) is box


def test_an_unknown_frame_names_itself_and_the_known_ones():
    with pytest.raises(ValueError, match=r"'pixels'.*native, norm1000, unit, view"):
        frames.to_native((0, 0, 1, 1), "pixels", (2, 2), (1, 1))


@settings(deadline=None)
@given(st.tuples(*[st.floats(-30, 90)] * 4) | st.tuples(*[st.integers(-60, 180).map(lambda n: n / 2)] * 4))
def test_to_pixels_rounds_as_pillows_crop_does(box):
    x1, y1, x2, y2 = frames.to_pixels(box)
    if not (0 <= x1 < x2 <= 60 and 0 <= y1 < y2 <= 60 and box[0] <= box[2] and box[1] <= box[3]):
        return
    pixels = np.arange(60 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 60, 3)
    assert np.array_equal(pixels[y1:y2, x1:x2], np.asarray(PILImage.fromarray(pixels).crop(box)))


@settings(deadline=None)
@given(boxes, sizes)
def test_clamp_stays_inside_and_leaves_inner_boxes_alone(box, size):
    x1, y1, x2, y2 = frames.clamp(box, size)
    assert x1 >= 0
    assert y1 >= 0
    assert x2 <= size[0]
    assert y2 <= size[1]
    assert frames.clamp((x1, y1, x2, y2), size) == (x1, y1, x2, y2)
    if x1 < x2 and y1 < y2:
        assert frames.iou((x1, y1, x2, y2), box) == pytest.approx(frames.area((x1, y1, x2, y2)) / frames.area(box))


def test_clamp_never_moves_a_box_from_outside_into_the_image():
    x1, _, x2, _ = frames.clamp((200, 10, 300, 20), (100, 100))
    assert x1 > x2


@settings(deadline=None)
@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    assert frames.iou(a, b) == frames.iou(b, a)
    assert 0 <= frames.iou(a, b) <= 1


@settings(deadline=None)
@given(boxes)
def test_iou_with_itself_is_1_unless_the_box_is_empty(box):
    assert frames.iou(box, box) == (1 if frames.area(box) > 0 else 0)


@settings(deadline=None)
@given(boxes, boxes, st.floats(-1000, 1000))
def test_iou_does_not_depend_on_where_the_boxes_lie(a, b, shift):
    if min(frames.area(a), frames.area(b)) < 1:
        return
    moved = [tuple(value + shift for value in box) for box in (a, b)]
    assert frames.iou(*moved) == pytest.approx(frames.iou(a, b), abs=1e-6)


def test_iou_of_known_boxes():
    assert frames.iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert frames.iou((0, 0, 4, 4), (1, 1, 3, 3)) == pytest.approx(1 / 4)
    assert frames.iou((0, 0, 2, 2), (2, 0, 4, 2)) == 0
    assert frames.iou((2, 2, 0, 0), (0, 0, 2, 2)) == 0


def test_finite_boxes():
    assert frames.is_finite_box((0, 1.5, 2, 3))
    assert not frames.is_finite_box((0, math.nan, 2, 3))
    assert not frames.is_finite_box((0, 1, math.inf, 3))
