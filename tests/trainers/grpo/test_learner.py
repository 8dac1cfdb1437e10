"""The learner: what its metrics are means of, and what stops it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.trainers.algorithms import PolicyLoss, get_policy_loss, register_advantage, register_policy_loss  # noqa: E402
from deepeyes_env.trainers.grpo.batch import Batch  # noqa: E402
from deepeyes_env.trainers.grpo.learner import Learner, NonFiniteError  # noqa: E402
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trajectories import read_trajectories  # noqa: E402
from tests.trainers.grpo.episodes import group, states_alone  # noqa: E402
from tests.trainers.grpo.small_runs import RecordedRows, trained  # noqa: E402


@register_advantage("test_every_other_row")
def every_other_row(inputs):
    """Rows 1, 3, ... have no advantage, and so no gradient."""
    even = torch.arange(len(inputs.mask))[:, None] % 2 == 0
    return (inputs.mask & even).float(), inputs.mask.float()


@register_policy_loss("test_not_a_number")
def not_a_number(*given):
    loss = get_policy_loss("ppo")(*given)
    return replace(loss, per_token=loss.per_token * torch.nan)


def test_metrics_are_means_over_the_tokens_that_are_trained_on():
    """Half of the episodes have no advantage and go through no forward pass."""
    policy = VisionPolicy.load(BASE)
    episodes = [*group(policy, 1, [1, 2, 3, 1]), *group(policy, 2, [2, 1])]
    batch = Batch(tuple(episodes), np.ones(6, np.float32), np.array([0, 0, 0, 0, 1, 1]))
    with torch.no_grad():
        logits = torch.cat([policy.logits(states_alone(policy, tokens), 1.0) for tokens in episodes[::2]])
    expected = torch.distributions.Categorical(logits=logits).entropy().mean().item()
    settings = AlgorithmSettings(advantage="test_every_other_row"), OptimSettings(micro_batch_tokens=40)
    metrics = Learner(policy, *settings, temperature=1.0).learn(batch, np.random.default_rng(0))
    assert metrics["learn/entropy"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.integration
def test_micro_batches_change_nothing(tmp_path):
    whole = trained(tmp_path / "whole").policy.model.state_dict()
    cut = trained(tmp_path / "cut", "optim.micro_batch_tokens=150").policy.model.state_dict()
    # Adam divides by the size of a gradient: where that is next to nothing, rounding decides.
    close = [torch.isclose(whole[name], cut[name], atol=2e-5).float().mean() for name in whole]
    assert min(close) > 0.9


@pytest.mark.integration
def test_the_constant_length_is_that_of_the_run(tmp_path):
    """With a loss of 1 a token, the share of the longest episode that there can be that the episodes fill."""
    tokens = []

    @register_advantage("test_ones")
    def ones(inputs):
        return inputs.mask.float(), inputs.mask.float()

    @register_policy_loss("test_ones")
    def one_each(old, new, advantages, mask, settings):
        tokens.append(int(mask.sum()))
        return PolicyLoss(torch.where(mask, 1 + 0 * new, 0.0), {})

    kept = RecordedRows()
    algorithm = ("algorithm.advantage=test_ones", "algorithm.loss=test_ones")
    trained(tmp_path, *algorithm, "algorithm.aggregation=seq-mean-token-sum-norm", recorders=[kept])
    (loss,) = [row["learn/loss"] for row in kept if "learn/loss" in row]
    assert loss == pytest.approx(sum(tokens) / (6 * 3 * 32), rel=1e-5)


def test_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path):
    settings = ("algorithm.loss=test_not_a_number", "algorithm.entropy_coefficient=0.01", "evaluation.samples=0")
    with pytest.raises(NonFiniteError, match=r"step 1: the loss is nan; its episodes are in .*failed_step_000001"):
        trained(tmp_path, *settings)
    assert len(list(read_trajectories(tmp_path / "failed_step_000001"))) == 6


def test_probabilities_that_are_no_numbers_stop_the_run(tmp_path):
    def spoil(trainer):
        with torch.no_grad():
            trainer.policy.model.model.language_model.norm.weight.fill_(torch.nan)

    with pytest.raises(NonFiniteError, match="probabilities that are not numbers"):
        trained(tmp_path, "evaluation.samples=0", spoil=spoil)
