"""Names of pixels: equal if and only if the pixels are."""

import gc
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepeyes_env.agents.openai.pixel_ids import Names
from tests.conftest import pattern

images = arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 3), st.just(3)), elements=st.integers(0, 1))


@given(st.lists(images, max_size=12))
def test_equal_images_and_no_others_share_a_name(pixels):
    names = Names()
    named = [names(each) for each in pixels]
    again = [names(each.copy()) for each in pixels]
    assert named == again
    assert len(set(named)) == len({(each.shape, each.tobytes()) for each in pixels})


def test_a_single_pixel_anywhere_makes_another_image():
    names, image = Names(), pattern(300, 200)
    known = {names(image)}
    others = []
    for x in range(0, 300, 7):
        others.append(image.copy())
        others[-1][x % 200, x] ^= 1
        assert names(others[-1]) not in known
        known.add(names(others[-1]))
    assert names(image) in known
    assert len(known) == 1 + len(others)


def test_views_of_the_same_memory_share_a_name():
    names, image = Names(), pattern(300, 200)
    first, again, other = image[10:90, 20:200], image[10:90, 20:200], image[11:91, 20:200]
    assert names(first) == names(again) != names(other)


def test_what_nobody_holds_is_let_go_and_its_name_is_not_used_again():
    names, image = Names(), pattern(300, 200)
    number, gone = names(image), weakref.ref(image)
    names(pattern(300, 201))
    del image
    gc.collect()
    assert gone() is None
    assert number in names.forgotten
    assert names(pattern(300, 200)) > number
