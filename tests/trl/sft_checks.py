"""Real steps of ``SFTTrainer`` on our examples, by an interpreter that has TRL; ``test_trl.py`` starts it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from typer.testing import CliRunner

from deepeyes_env import agents
from deepeyes_env.agents.transformers.chat import written
from deepeyes_env.agents.transformers.encoding import encode
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.cli.app import app
from deepeyes_env.core import PolicyTokens
from deepeyes_env.data.visual_search import VisualSearch, pattern_search
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.sft import check, load_settings
from deepeyes_env.trainers.sft.run import make_trainer
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trajectories import read_trajectories
from tests import realistic

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    return played(tmp_path_factory.mktemp("tiny"), pattern_search(length=12), 12)


@pytest.fixture(scope="session")
def real_folder():
    """The realistic model directory, kept beside the environment."""
    file = realistic.resource()
    if file is None:
        pytest.skip("dashscope, which brings Qwen's tokenizer, is not installed")
    folder = Path(os.environ.get("DEEPEYES_REALISTIC", "realistic"))
    return folder if (folder / "config.json").is_file() else realistic.build(folder, file)


@pytest.fixture(scope="session")
def real_run(tmp_path_factory):
    scenes = VisualSearch(length=6, size=(800, 800), view=ViewBudget(100 * 100, 280 * 280))
    return played(tmp_path_factory.mktemp("real"), scenes, 6)


def played(folder, dataset, episodes):
    agents.rollout("VisualToolbox-v2", "oracle", dataset=dataset, episodes=episodes, out=folder, progress=False)
    return folder


def trainer_of(run, tmp_path, *overrides):
    plan = check(load_settings([f"out={tmp_path}", "warmup=0", *overrides]), [run])
    trainer = make_trainer(plan)
    trainer.batches = []
    compute = trainer.compute_loss

    def recording(model, inputs, **kwargs):
        trainer.batches.append({name: value.clone() for name, value in inputs.items()})
        return compute(model, inputs, **kwargs)

    trainer.compute_loss = recording
    return trainer


def losses(trainer):
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def as_the_policy_sees(chat, run):
    """Return ids and labels of each episode, by what an agent is given before each message and what it writes."""
    made = []
    for episode in read_trajectories(run):
        labels, ids = [], []
        for number in range(len(episode.turns)):
            before = encode(chat, replace(episode, turns=episode.turns[:number])).tokens.ids.tolist()
            assert before[: len(ids)] == ids
            labels += [-100] * (len(before) - len(ids))
            said = chat.tokenizer(episode.turns[number].action, add_special_tokens=False).input_ids
            own = written(PolicyTokens((*said, chat.end_of_turn))).ids.tolist()
            ids, labels = before + own, labels + own
        made.append((ids, labels))
    return made


def assert_labels_are_the_policys(trainer, folder, run):
    """Compare every row that TRL was given with its episode, token by token."""
    expected = as_the_policy_sees(VisionPolicy.load(folder).chat, run)
    rows = 0
    for batch in trainer.batches:
        for ids, labels, attended in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
            length = int(attended.sum())
            assert (ids[:length].tolist(), labels[:length].tolist()) in expected
            assert (labels[length:] == -100).all()
            rows += 1
    assert rows
    assert any(sum(each.images != () for each in _observations(episode)) for episode in read_trajectories(run))


def _observations(episode):
    return [turn.observation for turn in episode.turns if turn.observation]


@pytest.mark.parametrize("lora", [0, 8])
def test_three_steps_with_the_tiny_policy(tmp_path, tiny_run, lora):
    lr = "1e-2" if lora else "1e-3"
    trainer = trainer_of(tiny_run, tmp_path, f"lora={lora}", "steps=3", "batch=12", "accumulation=1", f"lr={lr}")
    trainer.train()
    assert_labels_are_the_policys(trainer, BASE, tiny_run)
    first, *_, last = losses(trainer)
    assert last < 0.9 * first


@pytest.mark.parametrize("lora", [0, 8])
def test_three_steps_with_the_realistic_directory(tmp_path, real_folder, real_run, lora):
    given = (f"model={real_folder}", f"lora={lora}", "steps=3", "batch=2", "accumulation=3")
    trainer = trainer_of(real_run, tmp_path, *given, "lr=2e-3")
    trainer.train()
    assert_labels_are_the_policys(trainer, real_folder, real_run)
    assert len({tuple(each["input_ids"].shape) for each in trainer.batches}) > 1
    first, *_, last = losses(trainer)
    assert last < first


def test_the_loss_is_that_of_the_policys_tokens_alone(tmp_path, tiny_run):
    """What TRL reports is the mean over the policy's tokens by a plain forward of transformers."""
    trainer = trainer_of(tiny_run, tmp_path, "steps=1", "batch=12", "accumulation=1", "lr=1e-9", "sft.bf16=false")
    trainer.train()
    [batch] = trainer.batches
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32).eval()
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "use_cache")}
    with torch.no_grad():
        logps = torch.log_softmax(model(**inputs).logits[:, :-1].float(), -1)
    labels = batch["labels"][:, 1:]
    own = labels != -100
    mean = -logps.gather(2, labels.clamp(min=0)[..., None])[..., 0][own].mean()
    assert losses(trainer)[0] == pytest.approx(float(mean), rel=1e-3)


def test_a_frozen_vision_tower_stays_and_the_rest_moves(tmp_path, tiny_run):
    trainer = trainer_of(tiny_run, tmp_path, "steps=1", "batch=4", "accumulation=1", "lr=1e-3")
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert not any(".visual." in name for name in moved)


@pytest.mark.parametrize("lora", [0, 4])
def test_the_command_trains_and_saves(tmp_path, tiny_run, lora):
    given = ["steps=1", f"lora={lora}", f"out={tmp_path / 'run'}", "lr=1e-2", "warmup=0"]
    done = CliRunner().invoke(app, ["sft", str(tiny_run), *given])
    assert done.exit_code == 0, done.output
    trained, base = VisionPolicy.load(tmp_path / "run" / "model"), VisionPolicy.load(BASE)
    assert trained.stops == base.stops
    weights = base.model.state_dict()
    assert any(not torch.equal(weight, weights[name]) for name, weight in trained.model.state_dict().items())


@pytest.mark.parametrize("argument", ["sft.no_such_argument=1", "sft.lr_scheduler_type=no_such_schedule"])
def test_what_trl_refuses_is_said_in_one_line(tmp_path, tiny_run, argument):
    done = CliRunner().invoke(app, ["sft", str(tiny_run), f"out={tmp_path / 'run'}", argument])
    assert done.exit_code == 1
    assert "TRL refuses" in done.output
