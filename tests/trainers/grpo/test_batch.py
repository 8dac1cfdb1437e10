"""Batch: tables of policy tokens, and how episodes are divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.trainers.grpo.batch import Batch  # noqa: E402


def episode(length, written):
    mask = np.zeros(length, bool)
    mask[1 : 1 + written] = True
    return TokenSequence(np.arange(length), mask, np.where(mask, -1.0, 0.0).astype(np.float32))


def batch(lengths, group_size=2):
    return Batch(
        tuple(episode(length, min(3, length - 1)) for length in lengths),
        np.zeros(len(lengths), np.float32),
        np.arange(len(lengths)) // group_size,
    )


lengths = st.lists(st.integers(2, 50), min_size=1, max_size=12)


@given(lengths, st.integers(1, 4), st.integers(0, 5))
def test_minibatches_hold_whole_groups(sizes, number, seed):
    whole = batch(sizes)
    parts = list(whole.minibatches(number, np.random.default_rng(seed)))
    assert sorted(row for part in parts for row in part) == list(range(len(sizes)))
    groups = [set(whole.groups[part].tolist()) for part in parts]
    assert sum(map(len, groups)) == len(set(whole.groups.tolist()))


def test_tables_hold_policy_tokens_from_the_left():
    whole = batch([2, 9])
    assert whole.completion_mask().tolist() == [[True, False, False], [True, True, True]]
    assert whole.sampled_logprobs([1, 0], 3).tolist() == [[-1, -1, -1], [-1, 0, 0]]
