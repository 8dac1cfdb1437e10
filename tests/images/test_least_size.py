"""Images that programs make, at the sizes that the original was recorded to show them at."""

import numpy as np
import pytest

from deepeyes_env.images.least_size import at_least, least_size
from tests.conftest import pattern, read_golden

RECORDS = [record for record in read_golden("deepeyes_v2_image_sizes.jsonl") if record["kind"] == "rl sandbox image"]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: "x".join(map(str, record["size"])))
def test_sizes_are_the_original_s(record):
    assert least_size(tuple(record["size"])) == tuple(record["becomes"])


def test_pixels_that_are_large_enough_are_left_alone():
    pixels = pattern(64, 32)
    assert at_least(pixels) is pixels
    tiny = at_least(np.full((4, 10, 3), 7, np.uint8))
    assert tiny.shape == (32, 80, 3)
    assert (tiny == 7).all()
