"""Equality with the verl that is installed, on many batches: what the golden values hold for one."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from deepeyes_env.trainers import algorithms  # noqa: E402
from deepeyes_env.trainers.algorithms import AdvantageInputs, LossSettings, Totals, aggregate  # noqa: E402

pytestmark = pytest.mark.slow
GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def verl():
    """``make_algorithms.py``, which asks verl."""
    how = "needs verl: pip install --no-deps verl==0.9.1 tensordict==0.10.0, and what its import then asks for"
    pytest.importorskip("verl.trainer.ppo.core_algos", reason=how, exc_type=ImportError)
    spec = importlib.util.spec_from_file_location("make_algorithms", GOLDEN / "make_algorithms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def batch(verl, seed):
    """Inputs of a batch with holes in the mask, an empty row in every third, and ratios beyond the clamp."""
    x = verl.inputs(seed)
    generator = torch.Generator().manual_seed(seed)
    x["mask"] = (torch.rand(x["mask"].shape, generator=generator) < 0.7).float()
    x["mask"][0, :2] = 1
    if seed % 3 == 0:
        x["mask"][-1] = 0
    x["rewards"] = x["rewards"] * x["mask"]
    x["groups"] = torch.randint(0, 4, (8,), generator=generator)
    x["new"] = x["new"] - 12 * (torch.rand(x["new"].shape, generator=generator) < 0.2)
    return x


def test_the_golden_values_are_made_by_this_script(verl):
    stored = json.loads((GOLDEN / "algorithms.json").read_text(encoding="utf-8"))
    assert verl.rounded(verl.values(verl.inputs())) == stored


def test_equal_rewards_are_the_difference_to_verl(verl):
    x = verl.inputs()
    x["rewards"] = torch.zeros(8, 5)
    x["rewards"][:, 0], x["mask"], x["groups"] = 0.8, torch.ones(8, 5), torch.zeros(8, dtype=torch.int64)
    theirs = torch.tensor(verl.values(x)["advantages"]["grpo"][0])
    assert theirs.tolist() == [pytest.approx([-0.0562] * 5, abs=1e-3)] * 8  # if this is 0, verl has mended it
    ours, _ = algorithms.get_advantage("grpo")(AdvantageInputs(x["rewards"], x["mask"].bool(), x["groups"]))
    assert not ours.any()


@pytest.mark.parametrize("seed", range(12))
def test_everything_is_verls(verl, seed):
    x = batch(verl, seed)
    theirs, mask = verl.values(x), x["mask"].bool()
    names = ("rewards", "groups", "values", "baselines")
    inputs = AdvantageInputs(mask=mask, gamma=0.9, lam=0.8, **{name: x[name] for name in names})
    for name, expected in theirs["advantages"].items():
        for ours, their in zip(algorithms.get_advantage(name)(inputs), expected, strict=True):
            assert torch.allclose(ours[mask], torch.tensor(their)[mask], atol=5e-6), name
    for name, expected in theirs["losses"].items():
        loss_name, mode = name.split("/")
        new = x["new"].clone().requires_grad_()
        settings = LossSettings(0.2, 0.28, 3.0)
        loss = algorithms.get_policy_loss(loss_name)(x["old"], new, x["advantages"], mask, settings)
        total = aggregate(loss.per_token, mask, mode, Totals.of(mask))
        total.backward()
        assert total.item() == pytest.approx(expected["loss"], rel=1e-5), name
        assert torch.allclose(new.grad, torch.tensor(expected["gradient"]), rtol=1e-5, atol=1e-6), name
        found = [loss.metrics[metric] for metric in ("clip_fraction", "dual_clip_fraction", "old_kl")]
        assert found == pytest.approx([expected[metric] for metric in ("clip", "dual", "kl")], rel=1e-5, abs=1e-6), name
    errors = algorithms.value_loss(x["values"], x["new"], x["advantages"], mask)
    of_values = aggregate(errors, mask, "token-mean", Totals.of(mask)).item()
    assert of_values == pytest.approx(theirs["value_loss"], rel=1e-5)
    for estimator, expected in theirs["kl"].items():
        ours = algorithms.kl_divergence(x["new"], x["old"], estimator)
        assert torch.allclose(ours, torch.tensor(expected), rtol=1e-5, atol=1e-6), estimator
