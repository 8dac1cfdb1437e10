"""Real steps of ``GRPOTrainer``, run by an interpreter that has TRL; ``tests/trl/test_trl.py`` starts it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from peft import LoraConfig
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer
from typer.testing import CliRunner

from deepeyes_env import Sample, VisualToolboxEnv, register_toolbox
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.cli.app import app
from deepeyes_env.core import ToolCall
from deepeyes_env.data.visual_search import VisualSearch, pattern_search
from deepeyes_env.errors import UsageError
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.protocols import ParsedMessage
from deepeyes_env.protocols.tagged import TaggedProtocol
from deepeyes_env.tools import ZoomTool
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.trl import (
    EpisodeReward,
    EpisodeRollouts,
    VisionRolloutTrainer,
    environment_factory,
    load_processor,
    make_rows,
    unsampled_tokens,
    with_tool_calls,
)
from tests import realistic

torch.set_num_threads(1)
TURNS = 3
RESTLESS = "Restless-v0"
BOX = [100, 100, 180, 160]


class Restless(TaggedProtocol):
    """Reads a call in whatever a random model writes."""

    def parse(self, message):
        return ParsedMessage(calls=(ToolCall("image_zoom_in_tool", {"bbox_2d": BOX}),))


register_toolbox(RESTLESS, tools=[ZoomTool()], protocol=Restless())


class Recording:
    """Keeps what TRL's learner is given, rows in random order, with the episodes, and the model's log-probabilities."""

    batches: list

    def compute_loss(self, model, inputs, **kwargs):
        kept = {name: value.clone() if torch.is_tensor(value) else value for name, value in inputs.items()}
        kept["logps"] = forward(model, inputs, self.never) if "sampling_per_token_logps" in inputs else None
        self.batches.append((kept, list(self.reward_funcs[0].episodes)))
        return super().compute_loss(model, inputs, **kwargs)


class RecordingTrainer(Recording, GRPOTrainer):
    pass


class RecordingRolloutTrainer(Recording, VisionRolloutTrainer):
    pass


@torch.no_grad()
def forward(model, made, never):
    """Return log-probabilities of the completions by a plain forward pass of transformers.

    Args:
        model: The policy.
        made: What TRL's learner is given.
        never: Tokens that are never sampled.
    """
    ids = torch.cat([made["prompt_ids"], made["completion_ids"]], 1)
    mask = torch.cat([made["prompt_mask"], made["completion_mask"]], 1)
    names = ("pixel_values", "image_grid_thw", "mm_token_type_ids")
    kept = made["completion_ids"].shape[1] + 1
    images = {name: made[name] for name in names}
    logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept, **images).logits[:, :-1]
    logits[..., never] = -torch.inf
    return torch.log_softmax(logits.float(), -1).gather(2, made["completion_ids"][..., None])[..., 0]


def trained(
    folder, dataset, mode, tmp_path, *, toolbox="VisualToolbox-v2", lora=True, steps=2, message=64, batch=8,
    save="no", resume=False, **env,
):  # fmt: skip
    """Run steps of GRPO; returns the trainer and the reward function."""
    processor = with_tool_calls(load_processor(folder))
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    reward = EpisodeReward(processor, toolbox)
    args = GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False, max_steps=steps,
        per_device_train_batch_size=batch, num_generations=4, max_completion_length=2000,
        max_tool_calling_iterations=TURNS - 1, logging_steps=1, report_to="none", save_strategy=save,
        save_steps=1, learning_rate=1e-3, disable_tqdm=True,
        generation_kwargs={"suppress_tokens": unsampled_tokens(processor, model), "max_new_tokens": message},
    )  # fmt: skip
    given = {
        "model": model,
        "args": args,
        "reward_funcs": reward,
        "train_dataset": make_rows(dataset, toolbox),
        "processing_class": processor,
        "peft_config": LoraConfig(r=4, target_modules="all-linear") if lora else None,
    }
    if mode == "environment":
        factory = environment_factory(dataset, toolbox, max_turns=TURNS, **env)
        if toolbox == RESTLESS:
            calling(processor.tokenizer)
        trainer = RecordingTrainer(environment_factory=factory, **given)
    else:
        rollouts = EpisodeRollouts(dataset, toolbox, max_turns=TURNS, max_new_tokens=message, **env)
        trainer = RecordingRolloutTrainer(rollout_func=rollouts, **given)
    trainer.batches = []
    trainer.never = [
        *unsampled_tokens(processor, model),
        *range(len(processor.tokenizer), model.config.text_config.vocab_size),
    ]
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    trainer.train(resume_from_checkpoint=resume)
    assert trainer.state.global_step == steps
    trainer.changed = any(
        not torch.equal(before[name], weight) for name, weight in model.named_parameters() if name in before
    )
    return trainer, reward


def calling(tokenizer):
    """Let TRL read a call in whatever a random model writes."""
    call = {"type": "function", "function": {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": BOX}}}
    tokenizer.parse_response = lambda ids, **_: {"role": "assistant", "content": "", "tool_calls": [call]}


def assert_masks_are_the_policys(trainer, folder, toolbox="VisualToolbox-v2"):
    """Compare each row that TRL trains on with our own encoding of its episode, token by token."""
    chat = VisionPolicy.load(folder).chat
    turns = []
    for made, episodes in trainer.batches:
        rows, own = [], []
        for row, shown in enumerate(made["completion_mask"].bool()):
            prompt = made["prompt_ids"][row][made["prompt_mask"][row].bool()].tolist()
            ids, mask = made["completion_ids"][row][shown].tolist(), made["tool_mask"][row][shown].tolist()
            rows.append((prompt, ids, mask))
        for episode in episodes:
            whole, start = chat.sequence(episode), len(chat.prompt(episode))
            ids, mask = whole.ids.tolist(), whole.mask[start:].astype(int).tolist()
            own.append((ids[:start], ids[start:], mask))
            turns.append(len(episode.turns))
        ended = all(turn.finish_reason != "length" for episode in episodes for turn in episode.turns)
        if ended or isinstance(trainer, VisionRolloutTrainer):
            assert sorted(rows) == sorted(own)
        else:  # TRL's own loop does not end a message that was cut before it shows what tools answer
            assert sorted(map(written, rows)) == sorted(map(written, own))
    assert max(turns) > 1


def written(row):
    """Return a prompt, and the policy's tokens."""
    prompt, ids, mask = row
    return prompt, [token for token, own in zip(ids, mask, strict=True) if own]


def assert_rewards_are_the_rubrics(trainer, dataset, toolbox="VisualToolbox-v2", **env):
    """Play each message again in an environment that scores its episodes itself."""
    again = VisualToolboxEnv(toolbox, dataset, max_turns=TURNS, **env)
    numbers = {sample.id: number for number, sample in enumerate(dataset)}
    for made, episodes in trainer.batches:
        rewards = []
        for episode in episodes:
            number = numbers[episode.sample.id]
            again.reset(seed=number, options={"index": number})
            for turn in episode.turns:
                _, reward, *ended, info = again.step(turn.action)
            if not any(ended):
                _, reward, *ended, info = again.truncate("max_turns")
            assert info["trajectory"].reward_terms == episode.reward_terms
            assert info["stop_reason"] == episode.stop_reason
            rewards.append(reward)
            assert reward == episode.reward
        groups = torch.tensor(rewards, dtype=torch.float32).view(-1, 4)
        advantages = (groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)
        made_of_them = made["advantages"].sort().values
        torch.testing.assert_close(made_of_them, advantages.view(-1).sort().values, atol=1e-4, rtol=1e-4)


def assert_sampled_as_trained(trainer, tolerance=1e-4):
    """Compare the log-probabilities at sampling time with those of a forward pass on what the learner is given."""
    for made, _ in trainer.batches:
        own = (made["completion_mask"] * made["tool_mask"]).bool()
        difference = (made["logps"] - made["sampling_per_token_logps"])[own].abs()
        assert float(difference.max()) < tolerance


@pytest.fixture(scope="session")
def real_folder():
    """The realistic model directory, kept beside the environment."""
    file = realistic.resource()
    if file is None:
        pytest.skip("dashscope, which brings Qwen's tokenizer, is not installed")
    folder = Path(os.environ.get("DEEPEYES_REALISTIC", "realistic"))
    return folder if (folder / "config.json").is_file() else realistic.build(folder, file)


def real_scenes(length=6):
    return VisualSearch(length=length, size=(1600, 1600), view=ViewBudget(100 * 100, 520 * 520))


# --- the environment, without a trainer ---


def test_tools_become_methods_with_the_same_schema():
    env = environment_factory(pattern_search(length=2))()
    for tool in VisualToolboxEnv("VisualToolbox-v2").toolbox.schemas:
        ours, theirs = tool["function"], get_json_schema(getattr(env, tool["function"]["name"]))["function"]
        assert theirs["name"] == ours["name"]
        assert theirs["description"] == ours["description"]
        assert theirs["parameters"].get("required", []) == ours["parameters"].get("required", [])
        for name, described in ours["parameters"]["properties"].items():
            assert theirs["parameters"]["properties"][name]["type"] == described["type"]
            assert theirs["parameters"]["properties"][name]["description"] == described["description"]


def test_an_environment_shows_images_and_answers_in_its_own_words():
    data = pattern_search(length=2)
    env = environment_factory(data)()
    first = env.reset(**make_rows(data)[1])
    assert [block["type"] for block in first] == ["image", "text"]
    assert data[1].question in first[1]["text"]
    assert first == env.reset(index=1, seed=1)
    crop = env.image_zoom_in_tool(bbox_2d=[0, 0, 56, 56])
    assert sum(block["type"] == "image" for block in crop) == 1
    assert "bbox_2d" in json.dumps(env.image_zoom_in_tool(box=[0, 0, 56, 56]))


def test_what_a_user_gets_wrong_is_said():
    with pytest.raises(UsageError, match="EpisodeReward"):
        environment_factory(pattern_search(length=2), rubric="deepeyes")
    with pytest.raises(UsageError, match="make_rows"):
        environment_factory(pattern_search(length=2))().reset(prompt=[])
    with pytest.raises(UsageError, match="no questions"):
        make_rows(pattern_search(length=2), indices=())


def test_rollouts_need_a_trainer_that_shows_images(tmp_path):
    data = pattern_search(length=8)
    processor = with_tool_calls(load_processor(BASE))
    trainer = GRPOTrainer(
        model=Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32),
        args=GRPOConfig(
            output_dir=str(tmp_path), use_cpu=True, bf16=False, max_steps=1, per_device_train_batch_size=4,
            num_generations=4, report_to="none", save_strategy="no",
        ),
        reward_funcs=EpisodeReward(processor),
        train_dataset=make_rows(data),
        processing_class=processor,
        rollout_func=EpisodeRollouts(data),
    )  # fmt: skip
    with pytest.raises(UsageError, match="VisionRolloutTrainer"):
        trainer.train()


# --- steps ---


@pytest.mark.parametrize("lora", [True, False])
def test_environment_factory_with_the_tiny_policy(tmp_path, lora):
    data = pattern_search(length=16)
    trainer, _ = trained(BASE, data, "environment", tmp_path, lora=lora, steps=4)
    assert_masks_are_the_policys(trainer, BASE)
    assert_rewards_are_the_rubrics(trainer, data)
    assert trainer.changed


@pytest.mark.parametrize("lora", [True, False])
def test_rollout_func_with_the_tiny_policy(tmp_path, lora):
    data = pattern_search(length=16)
    trainer, _ = trained(BASE, data, "rollout", tmp_path, lora=lora, steps=4)
    assert_masks_are_the_policys(trainer, BASE)
    assert_rewards_are_the_rubrics(trainer, data)
    assert_sampled_as_trained(trainer)
    assert trainer.changed


def test_environment_factory_with_the_realistic_directory(tmp_path, real_folder):
    data = real_scenes()
    trainer, _ = trained(real_folder, data, "environment", tmp_path, toolbox=RESTLESS, message=6, batch=4, steps=1)
    assert_masks_are_the_policys(trainer, real_folder)


def test_rollout_func_with_the_realistic_directory(tmp_path, real_folder):
    data = real_scenes()
    trainer, reward = trained(real_folder, data, "rollout", tmp_path, toolbox=RESTLESS, message=6, batch=4, steps=1)
    assert_masks_are_the_policys(trainer, real_folder)
    assert_rewards_are_the_rubrics(trainer, data, RESTLESS)
    assert_sampled_as_trained(trainer)
    assert min(min(episode.view_size) for episode in reward.episodes) >= 400


@pytest.mark.parametrize("mode", ["environment", "rollout"])
def test_a_broken_question_costs_its_rollouts_not_the_run(tmp_path, mode):
    broken = Sample("broken", "Which pattern?", "checks", (tmp_path / "gone.png",))
    data = [broken, *pattern_search(length=3)]
    trainer, reward = trained(BASE, data, mode, tmp_path, steps=4)
    assert 0 < reward.failures < 32
    logged = [row["episodes/failed"] for row in trainer.state.log_history if "episodes/failed" in row]
    assert sum(logged) * 8 == pytest.approx(reward.failures)
    for made, episodes in trainer.batches:
        assert np.isfinite(made["advantages"].numpy()).all()
        assert int((made["advantages"] == 0).sum()) >= episodes.count(None)
    assert all(np.isfinite(row["loss"]) for row in trainer.state.log_history if "loss" in row)


def test_rows_name_their_questions():
    rows = make_rows(pattern_search(length=5), indices=[3, 1], seed=10)
    assert isinstance(rows, Dataset)
    assert rows["index"] == [3, 1]
    assert rows["seed"] == [13, 11]
    assert rows[0]["prompt"][0]["role"] == "system"


# --- the command, and the script of the documentation ---


def run_command(*arguments):
    return CliRunner().invoke(app, ["train-trl", *arguments])


def test_a_dry_run_prints_the_whole_configuration_and_loads_nothing(tmp_path):
    done = run_command(
        "--dry-run", f"out={tmp_path / 'run'}", "grpo.beta=0.01", "prompts=3", "group_size=4", "micro_batch=6"
    )
    assert done.exit_code == 0, done.output
    settings = yaml.safe_load(done.output)
    assert settings["toolbox"] == "VisualToolbox-v2"
    assert settings["grpo"]["beta"] == 0.01
    assert settings["grpo"]["gradient_accumulation_steps"] == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("model=nowhere", "nowhere"),
        ("data=gone.parquet", "gone.parquet"),
        ("toolbox=VisualToolbx-v2", "VisualToolbox-v2"),
        ("rubric=deepeye", "deepeyes"),
        ("micro_batch=7", "micro_batch=7"),
        ("max_new_tokens=4000", "context"),
        ("lorra=4", "lora"),
    ],
)
def test_a_dry_run_says_what_is_wrong(argument, told):
    done = run_command("--dry-run", argument)
    assert done.exit_code == 1
    assert told in done.output


@pytest.mark.parametrize(("play", "lora"), [("environment", 0), ("rollout", 4)])
def test_the_command_trains_and_saves(tmp_path, play, lora):
    done = run_command(f"out={tmp_path}", "steps=1", "group_size=4", f"play={play}", f"lora={lora}")
    assert done.exit_code == 0, done.output
    assert VisionPolicy.load(tmp_path / "model").context == 4096


def test_the_script_of_the_documentation_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "trl.md").read_text(encoding="utf-8")
    script = page.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "docs/trl.md", "exec"), {})


def test_rows_of_another_toolbox_are_refused():
    data = pattern_search(length=2)
    with pytest.raises(UsageError, match="another system prompt"):
        environment_factory(data, "VisualToolbox-v5")().reset(**make_rows(data, "VisualToolbox-v2")[0])
