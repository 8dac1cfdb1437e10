"""Rotary positions against transformers' get_rope_index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deepeyes_env.agents.transformers.positions import rotary_positions  # noqa: E402

IMAGE = 261

pieces = st.lists(st.one_of(st.integers(1, 6), st.tuples(st.integers(1, 5), st.integers(1, 5))), min_size=1, max_size=6)


def tokens(parts):
    """Texts are numbers of tokens, images (columns, rows); two images never touch, as in a chat."""
    ids, grids = [], []
    for part in parts:
        if isinstance(part, int):
            ids += [7] * part
        else:
            grids.append(part)
            ids += [8, *[IMAGE] * (part[0] * part[1]), 9]
    return np.array(ids, np.int64), grids


@given(pieces)
def test_equal_to_transformers(policy, parts):
    ids, grids = tokens(parts)
    ours, after = rotary_positions(ids, grids, IMAGE)
    grid = torch.tensor([[1, rows * 2, columns * 2] for columns, rows in grids]) if grids else None
    batch = torch.from_numpy(ids)[None]
    theirs, delta = policy.model.model.get_rope_index(batch, (batch == IMAGE).int(), image_grid_thw=grid)
    assert np.array_equal(ours, theirs[:, 0].numpy())
    assert after == len(ids) + int(delta)


@given(pieces, pieces)
def test_a_conversation_can_be_continued(first, second):
    (a, a_grids), (b, b_grids) = tokens(first), tokens(second)
    whole, end = rotary_positions(np.concatenate([a, b]), [*a_grids, *b_grids], IMAGE)
    head, middle = rotary_positions(a, a_grids, IMAGE)
    tail, after = rotary_positions(b, b_grids, IMAGE, start=middle)
    assert np.array_equal(whole, np.concatenate([head, tail], 1))
    assert after == end


@pytest.mark.parametrize("grids", [[], [(2, 3)], [(2, 2), (1, 1)]])
def test_image_tokens_that_do_not_fit_the_images(grids):
    with pytest.raises(ValueError, match="image tokens do not fit"):
        rotary_positions(np.array([1, IMAGE, IMAGE, IMAGE, IMAGE, 2]), grids, IMAGE)
