import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env.errors import UsageError
from deepeyes_env.images.regions import Region

IMAGE = np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8)
IMAGE.flags.writeable = False
WHOLE = Region.whole(0, (31, 23))


@st.composite
def parts(draw, width, height):
    x1, y1 = draw(st.integers(0, int(width) - 1)), draw(st.integers(0, int(height) - 1))
    return (x1, y1, draw(st.integers(x1 + 1, int(width))), draw(st.integers(y1 + 1, int(height))))


@st.composite
def histories(draw):
    """A region and the pixels that come of the same cuts, turns and flips, done on the pixels one by one."""
    region, pixels = WHOLE, IMAGE
    for step in draw(st.lists(st.sampled_from(["cut", "turn", "flip"]), max_size=8)):
        if step == "cut":
            x1, y1, x2, y2 = box = draw(parts(*region.size))
            region, pixels = region.part(box), pixels[y1:y2, x1:x2]
        elif step == "turn":
            quarters = draw(st.integers(-5, 5))
            region, pixels = region.turned(quarters), np.rot90(pixels, -quarters)
        else:
            region, pixels = region.flipped(), pixels[:, ::-1]
    return region, pixels


@settings(deadline=None)
@given(histories())
def test_a_region_is_what_was_cut_turned_and_flipped_however_deep(history):
    region, pixels = history
    assert region.size == (pixels.shape[1], pixels.shape[0])
    assert np.array_equal(region.cut(IMAGE), pixels)
    assert not region.cut(IMAGE).flags.writeable
    assert np.shares_memory(region.cut(IMAGE), IMAGE)


@settings(deadline=None)
@given(histories(), st.data())
def test_a_box_on_a_region_is_the_same_pixels_of_the_stored_image(history, data):
    region, pixels = history
    x1, y1, x2, y2 = box = data.draw(parts(*region.size))
    left, top, right, bottom = source = region.to_source(box)
    assert sorted(IMAGE[top:bottom, left:right].ravel()) == sorted(pixels[y1:y2, x1:x2].ravel())
    assert region.from_source(source) == box
    assert np.array_equal(region.part(box).cut(IMAGE), pixels[y1:y2, x1:x2])


def test_four_quarter_turns_and_two_flips_are_nothing():
    region = Region(2, (1, 2, 9, 20), 1, mirrored=True)
    assert region.turned(4) == region.turned(-8) == region.flipped().flipped() == region
    assert region.rotated(-90) == region.rotated(270) == region.turned(3)


def test_a_region_turned_by_another_angle_knows_its_source_but_takes_no_box():
    tilted = Region(1, (2, 3, 12, 9)).rotated(30)
    assert (tilted.image, tilted.box, tilted.upright) == (1, (2, 3, 12, 9), False)
    assert tilted.rotated(-30).tilted
    for refuses in (
        lambda: tilted.to_source((0, 0, 1, 1)),
        lambda: tilted.part((0, 0, 1, 1)),
        lambda: tilted.cut(IMAGE),
    ):
        with pytest.raises(UsageError, match="no quarter turn"):
            refuses()


def test_a_region_beyond_its_image_is_refused():
    with pytest.raises(UsageError, match="does not lie inside"):
        Region(0, (0, 0, 40, 10)).cut(IMAGE)
