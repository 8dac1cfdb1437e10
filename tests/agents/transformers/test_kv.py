"""KVCache: rows are gathered from several batches, and each keeps its tokens in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deepeyes_env.agents.transformers.kv import ROOM, KVCache  # noqa: E402

HEADS, SIZE, LAYERS = 2, 3, 2


def tokens_of(batch, row):
    """What stands in the filled columns of a row: ``(tokens, heads, size)`` for each layer, keys and values."""
    length = batch.filled.shape[1]
    return [buffer[row, :length][batch.filled[row]] for buffer in (*batch.keys, *batch.values)]


def extended(batch, new, seed):
    """Write columns of random numbers into a batch, as a model would."""
    torch.manual_seed(seed)
    mask = batch.extend(new)
    for layer in range(LAYERS):
        fresh = torch.randn(2, len(new), new.shape[1], HEADS, SIZE)
        keys, values = batch.update(fresh[0], fresh[1], layer)
        assert keys.shape == values.shape == (len(new), batch.filled.shape[1], HEADS, SIZE)
        assert torch.equal(keys[:, -new.shape[1] :], fresh[0])
        assert torch.equal(values[:, -new.shape[1] :], fresh[1])
    assert mask.shape == (len(new), 1, new.shape[1], batch.filled.shape[1])
    return batch


@st.composite
def batches(draw):
    """Draw batches of one to three rows, written in one to three pieces, with at least one token in each row."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 3))
        batch = KVCache(torch.zeros(rows, 0, dtype=torch.bool))
        for piece, columns in enumerate(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))):
            filled = draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
            new = torch.tensor(filled).view(rows, columns)
            new[:, -1] |= piece == 0
            extended(batch, new, 10 * number + piece)
        made.append(batch)
    return made


@pytest.mark.integration
@given(batches(), st.data())
def test_gathered_rows_keep_their_tokens(made, data):
    rows = [(batch, row) for batch in made for row in range(len(batch.filled))]
    picked = data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=6))
    gathered = KVCache.gathered(picked, room=data.draw(st.integers(0, 3)))
    assert gathered.filled.shape == (len(picked), max(int(batch.filled[row].sum()) for batch, row in picked))
    for target, (batch, row) in enumerate(picked):
        for ours, theirs in zip(tokens_of(gathered, target), tokens_of(batch, row), strict=True):
            assert torch.equal(ours, theirs)
    assert all(buffer.isfinite().all() for buffer in (*gathered.keys, *gathered.values))
    before = [tokens_of(gathered, target) for target in range(len(picked))]
    extended(gathered, torch.ones(len(picked), 2, dtype=torch.bool), 99)
    for target, held in enumerate(before):
        for ours, earlier in zip(tokens_of(gathered, target), held, strict=True):
            assert torch.equal(ours[:-2], earlier)


def test_buffers_grow_where_there_is_no_room():
    batch = KVCache(torch.zeros(1, 0, dtype=torch.bool))
    one = torch.ones(1, 1, dtype=torch.bool)
    for number in range(2 * ROOM + 5):
        extended(batch, one, number)
    assert batch.filled.shape == (1, 2 * ROOM + 5)
    torch.manual_seed(3)
    assert torch.equal(batch.keys[0][0, 3], torch.randn(2, 1, 1, HEADS, SIZE)[0, 0, 0])
