"""Packs: every episode once, behind its prompt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.sequence import TokenSequence, buckets
from deepeyes_env.trainers.grpo.packing import Pack, microbatches, pack
from tests.trainers.grpo.episodes import group


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 200))
def test_packs_hold_every_episode_once_and_are_not_too_long(policy, groups, longest):
    sequences = [tokens for seed, turns in enumerate(groups) for tokens in group(policy, seed, turns)]
    episodes = {7 + number: tokens for number, tokens in enumerate(sequences)}
    packs = pack(policy, episodes, longest)
    assert sorted(row for each in packs for row in each.rows) == sorted(episodes)
    for each in packs:
        assert len(each) <= longest or len(each.rows) == 1
        for row, completion in zip(each.rows, each.completions, strict=True):
            whole = TokenSequence.concatenated([each.prompt, completion])
            assert np.array_equal(whole.ids, episodes[row].ids)
            assert np.array_equal(whole.mask, episodes[row].mask)
            assert [id(image) for image in whole.images] == [id(image) for image in episodes[row].images]


def test_equal_words_about_different_images_are_different_prompts(policy):
    one, other = group(policy, 3, [1])[0], group(policy, 3, [1])[0]
    assert np.array_equal(one.ids, other.ids)
    assert one.images[0] is not other.images[0]
    assert len(pack(policy, {0: one, 1: other}, 10_000)) == 2


def lengths_as_packs(lengths):
    return [Pack((row,), TokenSequence.context(np.arange(length)), ()) for row, length in enumerate(lengths)]


lengths = st.lists(st.integers(2, 50), min_size=1, max_size=12)


@given(lengths, st.integers(1, 80))
def test_micro_batches_hold_every_pack_once_and_fit(sizes, most):
    pieces = list(microbatches(lengths_as_packs(sizes), most))
    assert [row for piece in pieces for each in piece for row in each.rows] == list(range(len(sizes)))
    assert all(sum(map(len, piece)) <= most or len(piece) == 1 for piece in pieces)


@given(lengths)
def test_buckets_hold_everything_once_and_like_lengths(sizes):
    divided = buckets(range(len(sizes)), sizes.__getitem__)
    assert sorted(row for bucket in divided for row in bucket) == list(range(len(sizes)))
    assert all(max(sizes[r] for r in bucket) <= 1.35 * min(sizes[r] for r in bucket) for bucket in divided)
