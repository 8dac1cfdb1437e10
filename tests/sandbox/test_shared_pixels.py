"""Images in memory that sessions share: written once, there as long as a session has them, and used again after."""

import gc
import mmap
import os

import numpy as np
import pytest

from deepeyes_env.sandbox.local.shared_pixels import SharedPixels
from tests.conftest import pattern
from tests.sandbox.conftest import frozen


def seen(shared, size):
    """What a session sees of an image: the pixels, and the file's number in the kernel."""
    fd = shared.opened()
    try:
        with mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ) as memory:
            pixels = np.frombuffer(memory[: 4 * size[0] * size[1]], np.uint8).reshape(size[1], size[0], 4)
            rest = memory[4 * size[0] * size[1] :]
        return pixels[..., :3], rest.strip(b"\0"), os.fstat(fd).st_ino
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [(640, 480), (30, 20), (700, 701)])
def test_memory_is_used_again_and_nothing_of_an_earlier_image_is_left(size):
    images = SharedPixels()
    first = frozen(pattern(800, 600))
    shared = images.of(first)
    pixels, rest, number = seen(shared, (800, 600))
    assert (np.array_equal(pixels, first), rest) == (True, b"")
    del first, shared
    gc.collect()
    later = frozen(255 - pattern(*size))
    pixels, rest, again = seen(images.of(later), size)
    assert (np.array_equal(pixels, later), rest, again) == (True, b"", number)


def test_what_a_session_still_has_stays():
    images = SharedPixels()
    first = frozen(pattern(64, 48))
    kept, wanted = images.of(first), first.copy()
    assert images.of(first) is kept
    del first
    for shade in range(20):
        images.of(frozen(np.full((48, 64, 3), shade, np.uint8)))
    assert np.array_equal(seen(kept, (64, 48))[0], wanted)


def test_an_array_that_may_change_is_written_again():
    images = SharedPixels()
    changing = pattern(64, 48)
    before = images.of(changing)
    changing[:] = 7
    assert set(np.unique(seen(images.of(changing), (64, 48))[0])) == {7}
    assert np.array_equal(seen(before, (64, 48))[0], pattern(64, 48))


def test_a_process_that_forked_leaves_its_parents_memory_alone():
    images = SharedPixels()
    kept = images.of(first := frozen(pattern(64, 48)))
    if os.fork() == 0:
        try:
            del kept, first
            for shade in range(3):
                images.of(frozen(np.full((48, 64, 3), shade, np.uint8)))
        finally:
            os._exit(0)
    os.wait()
    assert np.array_equal(seen(kept, (64, 48))[0], pattern(64, 48))
