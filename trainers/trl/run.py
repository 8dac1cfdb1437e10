"""A run with TRL, from its settings: model, processing class, environments, rows, reward and trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration
from trl import GRPOConfig, GRPOTrainer

from deepeyes_env.agents.transformers.policy import PROCESSOR_FILES
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.trainers.trl.config import TRLConfig, grpo_arguments
from deepeyes_env.trainers.trl.environment import environment_factory
from deepeyes_env.trainers.trl.plan import Plan
from deepeyes_env.trainers.trl.processor import load_processor, unsampled_tokens, with_tool_calls
from deepeyes_env.trainers.trl.reward import EpisodeReward
from deepeyes_env.trainers.trl.rollout import EpisodeRollouts, VisionRolloutTrainer
from deepeyes_env.trainers.trl.rows import make_rows

KEPT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",  # of which transformers' trainer leaves one token that ends a message
)
"""Files of a model directory that training leaves as they are."""

MOST_ROWS = 10_000
"""Rows of a built-in task: it has no end of its own."""


def run(plan: Plan) -> Path:
    """Train; returns the folder of the trained model.

    Raises:
        UsageError: TRL refuses an argument of ``grpo``.
        MissingExtraError: LoRA is asked for, and peft is not installed.
    """
    trainer = make_trainer(plan)
    trainer.train()
    folder = plan.config.out / "model"
    if trainer.accelerator.is_main_process:
        save(trainer.accelerator.unwrap_model(trainer.model), plan.config.folder, folder)
    return folder


def save(model: Any, source: Path, folder: Path) -> None:
    """Write trained weights, adapters merged into them, beside the files of the model that they began from."""
    trained = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    trained.save_pretrained(folder)
    for name in (*KEPT_FILES, *PROCESSOR_FILES):
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())


def make_trainer(plan: Plan) -> Any:
    """Return the trainer of a run.

    Raises:
        UsageError: TRL refuses an argument of ``grpo``.
        MissingExtraError: LoRA is asked for, and peft is not installed.
    """
    config, data = plan.config, plan.dataset
    processor = with_tool_calls(load_processor(config.folder))
    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        config.folder, dtype=getattr(torch, config.dtype), local_files_only=True, use_safetensors=True
    )
    unsampled = unsampled_tokens(processor, model)
    try:
        arguments = GRPOConfig(**_on_this_machine(), **grpo_arguments(config, plan.image_tokens, unsampled))
    except (TypeError, ValueError) as error:
        raise UsageError(f"grpo: TRL refuses its settings: {error}") from error
    rows = make_rows(data, config.toolbox, indices=range(min(len(data), MOST_ROWS)), seed=config.seed)
    common: dict[str, Any] = {
        "model": model,
        "args": arguments,
        "reward_funcs": EpisodeReward(processor, config.toolbox, rubric=config.rubric),
        "train_dataset": rows,
        "processing_class": processor,
        "peft_config": _lora(config),
    }
    env: dict[str, Any] = {"max_turns": config.max_turns, "view": plan.view}
    if config.play == "environment":
        return GRPOTrainer(environment_factory=environment_factory(data, config.toolbox, **env), **common)
    rollouts = EpisodeRollouts(data, config.toolbox, max_new_tokens=config.max_new_tokens, seed=config.seed, **env)
    return VisionRolloutTrainer(rollout_func=rollouts, **common)


def _lora(config: TRLConfig) -> Any:
    if not config.lora:
        return None
    peft = import_extra("peft", "trl")
    return peft.LoraConfig(r=config.lora, lora_alpha=2 * config.lora, target_modules="all-linear")


def _on_this_machine() -> dict[str, Any]:
    return {} if torch.cuda.is_available() else {"use_cpu": True}
