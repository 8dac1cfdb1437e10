"""LoRA and a frozen vision tower: what is trained, what a checkpoint holds, and that it goes on from there."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from tests.trainers.grpo.episodes import group, states_alone  # noqa: E402
from tests.trainers.grpo.small_runs import RecordedRows, config, trained  # noqa: E402

LORA = ("weights.lora_rank=4", "evaluation.samples=0", "rollout.group_size=6", "optim.lr=1e-2", "optim.warmup=0")


def weights(path):
    return VisionPolicy.load(path).model.state_dict()


@pytest.mark.integration
def test_a_frozen_vision_tower_stays_as_it_is(tmp_path):
    trained(tmp_path, "weights.freeze_vision=true", *LORA[1:])
    before, after = weights(BASE), weights(tmp_path / "checkpoints" / "step_000001")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any("visual" in name for name in changed)


@pytest.mark.integration
def test_adapters_alone_are_trained_and_merged_in_a_checkpoint(tmp_path):
    pytest.importorskip("peft")
    rows = RecordedRows()
    trainer = trained(tmp_path, *LORA, "steps=2", "checkpoint.every=1", recorders=[rows])
    assert max(row["learn/logprob_gap"] for row in rows if "learn/logprob_gap" in row) < 1e-4
    learned = [name for name, weight in trainer.policy.model.named_parameters() if weight.requires_grad]
    assert learned
    assert all(".lora_" in name and "language_model.layers" in name for name in learned)
    before, after = weights(BASE), weights(tmp_path / "checkpoints" / "step_000002")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("_proj.weight" in name and "language_model.layers" in name for name in changed)
    merged = VisionPolicy.load(tmp_path / "checkpoints" / "step_000002")
    (episode,) = group(merged, 1, [2])
    with torch.no_grad():
        policies = (merged, trainer.policy, VisionPolicy.load(BASE))
        ours, adapted, begun = (states_alone(each, episode) for each in policies)
    assert torch.allclose(ours, adapted, atol=1e-4)
    assert not torch.allclose(ours, begun, atol=1e-3)


@pytest.mark.integration
def test_a_run_with_adapters_resumes_as_if_it_had_not_stopped(tmp_path):
    pytest.importorskip("peft")
    settings = (*LORA, "checkpoint.every=1")
    trained(tmp_path / "whole", *settings, "steps=3")
    trained(tmp_path / "parts", *settings, "steps=2")
    trained(tmp_path / "parts", *settings, "steps=3", resume=True)
    whole, parts = (weights(tmp_path / name / "checkpoints" / "step_000003") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.integration
def test_in_bfloat16_the_frozen_weights_are_half_as_large(tmp_path):
    pytest.importorskip("peft")
    trainer = trained(tmp_path, *LORA, "optim.dtype=bfloat16")
    types = {weight.dtype for weight in trainer.policy.model.parameters() if weight.requires_grad}
    assert types == {torch.float32}
    assert trainer.policy.model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert np.isfinite(states_alone_sum(tmp_path))


def states_alone_sum(folder):
    merged = VisionPolicy.load(folder / "checkpoints" / "step_000001")
    (episode,) = group(merged, 1, [2])
    with torch.no_grad():
        return float(states_alone(merged, episode).sum())


def test_a_resumed_run_keeps_its_adapters(tmp_path):
    run(config(tmp_path / "run", "weights.freeze_vision=true", "evaluation.samples=0"), live=False)
    with pytest.raises(UsageError, match=r"weights.freeze_vision was True and now is False"):
        run(config(tmp_path / "run", "steps=2", "evaluation.samples=0"), resume=True, live=False)
