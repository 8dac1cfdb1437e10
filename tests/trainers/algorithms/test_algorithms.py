"""Advantages, losses, aggregation and KL: verl's values, hand-computed cases, and what must always hold."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from deepeyes_env.trainers import algorithms  # noqa: E402
from deepeyes_env.trainers.algorithms import AdvantageInputs, LossSettings, Totals, aggregate  # noqa: E402
from deepeyes_env.trainers.algorithms.masked import masked_whiten  # noqa: E402

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "algorithms.json").read_text(encoding="utf-8"))
MODES = ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
ESTIMATORS = ["grpo", "dr_grpo", "rloo", "reinforce_plus_plus", "remax", "gae"]


def tensors():
    given = {name: torch.tensor(value) for name, value in GOLDEN["inputs"].items()}
    return {**given, "mask": given["mask"].bool()}


def golden_inputs(**changes):
    x = tensors()
    names = ("rewards", "mask", "groups", "values", "baselines")
    settings = {**{name: x[name] for name in names}, "gamma": 0.9, "lam": 0.8, **changes}
    return AdvantageInputs(**settings)


def of_rewards(totals, groups, **more):
    rewards = torch.tensor(totals)[:, None]
    return AdvantageInputs(rewards, torch.ones(len(totals), 1, dtype=torch.bool), torch.tensor(groups), **more)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_advantages_are_verls(name):
    advantages, returns = algorithms.get_advantage(name)(golden_inputs())
    mask = tensors()["mask"]
    for ours, theirs in zip((advantages, returns), GOLDEN["advantages"][name], strict=True):
        assert torch.allclose(ours[mask], torch.tensor(theirs)[mask], atol=2e-6)
        assert not ours[~mask].any()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_lies_outside_the_mask_does_not_matter(name):
    x = tensors()
    outside = torch.where(x["mask"], 0.0, torch.nan)
    clean = algorithms.get_advantage(name)(golden_inputs())
    dirty = algorithms.get_advantage(name)(golden_inputs(rewards=x["rewards"] + outside, values=x["values"] + outside))
    for a, b in zip(clean, dirty, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["ppo", "gspo", "reinforce"])
@pytest.mark.parametrize("mode", MODES)
def test_losses_and_gradients_are_verls(name, mode):
    x = tensors()
    expected = GOLDEN["losses"][f"{name}/{mode}"]
    new = x["new"].clone().requires_grad_()
    settings = LossSettings(0.2, 0.28, 3.0)
    loss = algorithms.get_policy_loss(name)(x["old"], new, x["advantages"], x["mask"], settings)
    total = aggregate(loss.per_token, x["mask"], mode, Totals.of(x["mask"]))
    total.backward()
    assert total.item() == pytest.approx(expected["loss"], rel=1e-5)
    assert torch.allclose(new.grad, torch.tensor(expected["gradient"]), atol=1e-6)
    assert loss.metrics["clip_fraction"] == pytest.approx(expected["clip"], abs=1e-6)
    assert loss.metrics["dual_clip_fraction"] == pytest.approx(expected["dual"], abs=1e-6)
    assert loss.metrics["old_kl"] == pytest.approx(expected["kl"], rel=1e-5)


def test_value_loss_is_verls():
    x = tensors()
    loss = algorithms.value_loss(x["values"], x["new"], x["advantages"], x["mask"])
    assert aggregate(loss, x["mask"], "token-mean", Totals.of(x["mask"])).item() == pytest.approx(GOLDEN["value_loss"])


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "abs"])
def test_kl_is_verls(estimator):
    x = tensors()
    ours = algorithms.kl_divergence(x["new"], x["old"], estimator)
    assert torch.allclose(ours, torch.tensor(GOLDEN["kl"][estimator]), atol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "exactness"),
    [("k2", "exact"), ("k1+", "exact"), ("k3+", "exact"), ("k1", "zero"), ("k3", "other"), ("abs", "other")],
)
def test_gradient_of_the_kl_penalty_in_expectation(estimator, exactness):
    """Over all samples of a small policy: exact for k2 and the two with its gradient, nothing for k1."""
    logits = torch.tensor([2.0, 0.5, -1.0, 0.0, -3.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-1.0, 1.5, 0.5, -2.0, 1.0], dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((policy.exp() * (policy - reference)).sum(), logits, retain_graph=True)
    estimates = algorithms.kl_divergence(policy, reference, estimator)
    (found,) = torch.autograd.grad((policy.exp().detach() * estimates).sum(), logits)
    assert torch.allclose(found, exact) == (exactness == "exact")
    assert (found.abs().max() < 1e-12) == (exactness == "zero")


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_straight_through_estimators_have_the_value_of_the_plain_one(estimator):
    x = tensors()
    plus = algorithms.kl_divergence(x["new"], x["old"], f"{estimator}+")
    assert torch.allclose(plus, algorithms.kl_divergence(x["new"], x["old"], estimator))


def test_grpo_by_hand():
    advantages, _ = algorithms.get_advantage("grpo")(of_rewards([1.0, 3.0, 5.0, 5.0], [4, 4, 9, 9]))
    assert advantages[:, 0].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5, 0, 0], abs=1e-5)


def test_rloo_by_hand():
    advantages, _ = algorithms.get_advantage("rloo")(of_rewards([1.0, 3.0, 8.0], [0, 0, 0]))
    assert advantages[:, 0].tolist() == pytest.approx([1 - 5.5, 3 - 4.5, 8 - 2])


def test_reinforce_by_hand():
    old, new = torch.tensor([[-1.0, -5.0]]), torch.tensor([[-2.0, -5.0]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    loss = algorithms.get_policy_loss("reinforce")(old, new, torch.tensor([[3.0, 3.0]]), mask, LossSettings())
    loss.per_token.sum().backward()
    assert loss.per_token.tolist() == [[6.0, 0.0]]
    assert new.grad.tolist() == [[-3.0, 0.0]]


@pytest.mark.parametrize("name", ["remax", "gae"])
def test_estimators_say_what_they_need(name):
    with pytest.raises(ValueError, match=f"{name} needs"):
        algorithms.get_advantage(name)(of_rewards([1.0], [0]))
    assert algorithms.needs_values("gae")
    assert algorithms.needs_baselines("remax")
    assert not algorithms.needs_values("grpo")
    assert not algorithms.needs_baselines("grpo")


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo"])
@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=6), st.floats(-5, 5, width=32))
def test_a_reward_that_all_members_get_changes_nothing(name, totals, shift):
    estimator = algorithms.get_advantage(name)
    groups = [3] * len(totals)
    plain, _ = estimator(of_rewards(totals, groups))
    moved, _ = estimator(of_rewards([total + shift for total in totals], groups))
    spread = max(totals) - min(totals)
    if spread > 0.1 or name != "grpo":
        assert torch.allclose(plain, moved, atol=1e-3)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "reinforce_plus_plus", "remax"])
@given(st.floats(-5, 5, width=32), st.integers(2, 16))
def test_groups_of_equal_reward_have_no_advantage(name, reward, size):
    groups = [3] * size + [5] * 2
    inputs = of_rewards([reward] * len(groups), groups, baselines=torch.full((len(groups),), reward))
    advantages, _ = algorithms.get_advantage(name)(inputs)
    assert not advantages.any()


@given(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32), st.integers(2, 16))
def test_whitened_equal_values_are_zero(reward, value, size):
    mask = torch.ones(size, 3, dtype=torch.bool)
    assert not masked_whiten(torch.full((size, 3), reward), mask).any()
    inputs = of_rewards([reward] * size, [0] * size, values=torch.full((size, 1), value))
    assert not algorithms.get_advantage("gae")(inputs)[0].any()


@pytest.mark.parametrize(("reward", "verls"), [(0.8, -0.0562), (1.2, 0.1065), (0.2, -0.0147), (1.0, 0.0)])
def test_verl_gives_equal_rewards_an_advantage_and_ours_does_not(reward, verls):
    """Named difference: verl 0.9.1 divides the rounding of the mean by a deviation of nearly 0 (its PR 4597)."""
    scores = torch.full((8,), reward)
    of_verl = (scores - scores.mean()) / (scores.std() + 1e-6)
    assert of_verl.tolist() == pytest.approx([verls] * 8, abs=1e-3)
    assert not algorithms.get_advantage("grpo")(of_rewards([reward] * 8, [0] * 8))[0].any()


@pytest.mark.parametrize("name", ESTIMATORS)
@given(st.permutations(range(8)))
def test_the_order_of_episodes_does_not_matter(name, order):
    x = tensors()
    rows = torch.tensor(order)
    chosen = {key: x[key][rows] for key in ("rewards", "mask", "groups", "values", "baselines")}
    plain, _ = algorithms.get_advantage(name)(golden_inputs())
    mixed, _ = algorithms.get_advantage(name)(golden_inputs(**chosen))
    assert torch.allclose(plain[rows], mixed, atol=1e-5)


@pytest.mark.parametrize("name", ["ppo", "gspo", "reinforce"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cuts", [[4], [1, 1, 7], [2, 3, 5, 6]])
def test_micro_batches_add_up_to_the_batch(name, mode, cuts):
    x = tensors()
    totals = Totals.of(x["mask"])

    def loss(rows):
        new = x["new"].clone().requires_grad_()
        of_rows = algorithms.get_policy_loss(name)(
            x["old"][rows], new[rows], x["advantages"][rows], x["mask"][rows], LossSettings()
        )
        total = aggregate(of_rows.per_token, x["mask"][rows], mode, totals)
        total.backward()
        return total.item(), new.grad

    bounds = [0, *sorted(cuts), 8]
    parts = [loss(slice(a, b)) for a, b in itertools.pairwise(bounds) if a < b]
    whole = loss(slice(0, 8))
    assert sum(part[0] for part in parts) == pytest.approx(whole[0], abs=1e-5)
    assert torch.allclose(sum(part[1] for part in parts), whole[1], atol=1e-6)


@pytest.mark.parametrize("name", ["ppo", "gspo", "reinforce"])
def test_not_a_number_outside_the_mask_does_no_harm(name):
    x = tensors()
    dirty = torch.where(x["mask"], x["new"], torch.nan).requires_grad_()
    loss = algorithms.get_policy_loss(name)(x["old"], dirty, x["advantages"], x["mask"], LossSettings())
    total = aggregate(loss.per_token, x["mask"], "token-mean", Totals.of(x["mask"]))
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(dirty.grad).all()


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_batch_has_no_loss(mode):
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert aggregate(torch.full((2, 3), torch.nan), nothing, mode, Totals.of(nothing)).item() == 0
    assert masked_whiten(torch.ones(2, 3), nothing).tolist() == [[0] * 3] * 2


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(ValueError, match=r"unknown advantage estimator 'grop'; did you mean 'grpo'\? known: "):
        algorithms.get_advantage("grop")
    with pytest.raises(ValueError, match="unknown policy loss"):
        algorithms.get_policy_loss("huber")
    with pytest.raises(ValueError, match="unknown aggregation"):
        aggregate(torch.zeros(1, 1), torch.ones(1, 1), "mean", Totals(1, 1, 1))
    with pytest.raises(ValueError, match="unknown KL estimator"):
        algorithms.kl_divergence(torch.zeros(1), torch.zeros(1), "k9")


def test_users_add_their_own():
    @algorithms.register_advantage("test_only_mine")
    def mine(inputs):
        return inputs.rewards, inputs.rewards

    assert algorithms.get_advantage("test_only_mine") is mine
    with pytest.raises(ValueError, match="'grpo' belongs to the package"):
        algorithms.register_advantage("grpo")(mine)
