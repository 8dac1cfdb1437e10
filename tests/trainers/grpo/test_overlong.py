"""The overlong filter: episodes that were cut off have no part in the loss, but one in the baseline of their group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.trainers.algorithms import register_advantage
from deepeyes_env.trainers.grpo.batch import Batch
from deepeyes_env.trainers.grpo.learner import Learner
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings
from deepeyes_env.trainers.tiny import BASE
from tests.trainers.grpo.episodes import group
from tests.trainers.grpo.small_runs import RecordedRows, trained


@register_advantage("test_as_they_are")
def as_they_are(inputs):
    advantages = inputs.rewards.sum(1, keepdim=True) * inputs.mask
    return advantages, advantages


REWARDS = np.array([1, 0, 0, 0.5], np.float32)


def learned(batch, **settings):
    """The weights after one step, and its metrics."""
    torch.manual_seed(0)
    policy = VisionPolicy.load(BASE)
    algorithm = AlgorithmSettings(advantage="dr_grpo", **settings)
    metrics = Learner(policy, algorithm, OptimSettings(warmup=0), 1.0).learn(batch, np.random.default_rng(0))
    return policy.model.state_dict(), metrics


def batch_of(overlong):
    policy = VisionPolicy.load(BASE)
    return Batch(tuple(group(policy, 1, [1, 2, 1, 2])), REWARDS, np.zeros(4, np.int64), None, np.array(overlong))


def test_what_was_cut_has_no_gradient():
    cut = batch_of([False, False, True, False])
    spared = learned(cut, mask_truncated_completions=True)[0]
    # With rewards whose mean is that of all four, the three others alone give the same advantages.
    rest = Batch(cut.sequences[:2] + cut.sequences[3:], REWARDS[[0, 1, 3]] - REWARDS.mean(), np.arange(3))
    torch.manual_seed(0)
    policy = VisionPolicy.load(BASE)
    learner = Learner(policy, AlgorithmSettings(advantage="test_as_they_are"), OptimSettings(warmup=0), 1.0)
    learner.learn(rest, np.random.default_rng(0))
    alone = policy.model.state_dict()
    close = [torch.isclose(spared[name], alone[name], atol=2e-5).float().mean() for name in alone]
    assert min(close) > 0.9
    unfiltered = learned(cut)[0]
    assert any(not torch.allclose(unfiltered[name], spared[name], atol=1e-4) for name in alone)


def test_a_batch_without_cut_episodes_is_learned_from_as_ever():
    whole = batch_of([False] * 4)
    first, second = learned(whole)[0], learned(whole, mask_truncated_completions=True)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)
    bare = replace(whole, overlong=None)
    assert all(torch.equal(weight, first[name]) for name, weight in learned(bare)[0].items())


@pytest.mark.parametrize("settings", [{"entropy_coefficient": 0.1}, {}])
def test_a_batch_of_cut_episodes_changes_nothing(settings):
    before = VisionPolicy.load(BASE).model.state_dict()
    after, metrics = learned(batch_of([True] * 4), mask_truncated_completions=True, **settings)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert metrics["learn/overlong"] == 1


def test_a_run_tells_how_many_were_cut(tmp_path):
    rows = RecordedRows()
    settings = ("algorithm.mask_truncated_completions=true", "evaluation.samples=0", "rollout.max_new_tokens=17")
    trained(tmp_path, *settings, recorders=[rows])
    (row,) = [row for row in rows if row["step"] == 1]
    assert row["finish/length"] + row["finish/stop"] == pytest.approx(1)
    assert row["stop/answer"] + row["stop/format_error"] + row.get("stop/max_turns", 0) == pytest.approx(1)
    if "learn/overlong" in row:
        assert 0 <= row["learn/overlong"] <= 1
