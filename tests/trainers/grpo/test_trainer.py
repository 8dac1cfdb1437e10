"""The trainer on the shipped policy: a step with every algorithm, and what keeps it from taking one."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env import Rubric, Term, register_rubric, register_toolbox  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from deepeyes_env.registry import load_plugins  # noqa: E402
from deepeyes_env.trainers.grpo.diagnosis import TrainingError  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from tests.trainers.grpo.small_runs import RecordedRows, config, trained  # noqa: E402


@pytest.mark.integration
@pytest.mark.parametrize(
    "settings",
    [
        ("algorithm.advantage=remax", "algorithm.loss=reinforce"),
        ("algorithm.advantage=gae", "optim.epochs=2"),
        ("algorithm.advantage=rloo", "algorithm.kl=loss", "algorithm.loss=gspo"),
        ("algorithm.advantage=reinforce_plus_plus", "algorithm.kl=reward", "algorithm.entropy_coefficient=0.01"),
        ("algorithm.advantage=dr_grpo", "optim.minibatches=2", "optim.micro_batch_tokens=200"),
        ("rollout.dynamic_sampling=2",),
        ("optim.dtype=bfloat16", "optim.gradient_checkpointing=true"),
    ],
)
def test_every_algorithm_takes_a_step(tmp_path, settings):
    trainer = Trainer(config(tmp_path, *settings))
    before = {name: weight.clone() for name, weight in trainer.policy.model.state_dict().items()}
    try:
        trainer.train()
    finally:
        trainer.close()
    after = trainer.policy.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(weight).all() for weight in after.values())


@pytest.mark.integration
@pytest.mark.parametrize("advantage", ["grpo", "dr_grpo", "rloo", "reinforce_plus_plus", "remax"])
def test_a_constant_reward_changes_no_weight(tmp_path, advantage):
    register_rubric("test_always_0.8", Rubric([Term("constant", lambda evidence: 0.8)]))
    many = ("rollout.group_size=8", "steps=3", "optim.weight_decay=0.1", "evaluation.samples=0")
    trainer = Trainer(config(tmp_path, "env.rubric=test_always_0.8", f"algorithm.advantage={advantage}", *many))
    before = {name: weight.clone() for name, weight in trainer.policy.model.state_dict().items()}
    try:
        trainer.train()
    finally:
        trainer.close()
    after = trainer.policy.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert trainer.learner.state()["optimizer_steps"] == 0


@pytest.mark.integration
@pytest.mark.parametrize("advantage", ["grpo", "reinforce_plus_plus", "gae"])
def test_a_group_of_one_is_learned_from(tmp_path, advantage):
    trainer = trained(tmp_path, f"algorithm.advantage={advantage}", "rollout.group_size=1", "rollout.prompts=4")
    assert trainer.learner.state()["optimizer_steps"] == 1


def test_a_greedy_baseline_wants_a_group(tmp_path):
    with pytest.raises(ValueError, match=r"'remax' wants .* raise rollout\.group_size above 1"):
        Trainer(config(tmp_path, "algorithm.advantage=remax", "rollout.group_size=1"))


@pytest.mark.integration
def test_steps_of_equal_rewards_do_not_end_a_run(tmp_path):
    alike = ("rollout.temperature=0.01", "rollout.dynamic_sampling=1", "steps=5", "evaluation.samples=0")
    assert trained(tmp_path, *alike).progress.step == 5


@pytest.mark.parametrize("device", ["nope", "cuda:99", "", "meta"])
def test_a_device_that_is_not_there_is_told_by_name(tmp_path, device):
    with pytest.raises(UsageError, match=rf"optim\.device='{device}': .*use optim\.device=cpu"):
        Trainer(config(tmp_path, f"optim.device='{device}'"))
    with pytest.raises(UsageError, match=rf"^device='{device}': .*use device=cpu"):
        VisionPolicy.load(BASE, device)


def test_registered_arguments_count_in_threads_too(tmp_path):
    register_toolbox("OneImage-v0", tools=["image_zoom_in_tool"], max_images=1)
    trainer = Trainer(config(tmp_path, "env.toolbox=OneImage-v0"))
    assert {limits.max_images for limits in trainer.env.call("limits")} == {1}
    trainer.close()


PLUGIN = """
from deepeyes_env.rewards import Rubric, Term, register_rubric

def broken(evidence):
    raise RuntimeError("the judge is away")

register_rubric("test_broken", Rubric([Term("acc", broken, 1.0)]))
"""


@pytest.mark.parametrize(("steps", "told"), [(9, "of the last 3 steps, up to 3,"), (1, "of step 1")])
def test_a_judge_that_always_raises_ends_the_run_with_its_reason(tmp_path, steps, told):
    plugin = tmp_path / f"broken_plugin_{steps}.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    load_plugins([str(plugin)])
    settings = ("env.rubric=test_broken", f"steps={steps}", "evaluation.samples=0")
    trainer = Trainer(config(tmp_path / "run", *settings))
    try:
        with pytest.raises(
            TrainingError,
            match=rf"no episode {told} could be played: 6 x RuntimeError: the judge is away; mend that",
        ):
            trainer.train()
    finally:
        trainer.close()


@pytest.mark.integration
def test_rollouts_in_bfloat16_follow_the_policy(tmp_path):
    """With the copy of before the first step, what was sampled would be far from what the learner computes."""
    kept = RecordedRows()
    settings = ("optim.dtype=bfloat16", "optim.lr=3e-3", "optim.warmup=0", "rollout.group_size=6", "steps=3")
    trained(tmp_path, *settings, "evaluation.samples=0", recorders=[kept])
    gaps = [row["learn/logprob_gap"] for row in kept if "learn/logprob_gap" in row]
    assert len(gaps) >= 2
    assert max(gaps) < 0.5
