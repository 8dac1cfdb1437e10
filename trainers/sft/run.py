"""A run of supervised fine-tuning: TRL's ``SFTTrainer`` over our examples, with our collator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import torch
from trl import SFTConfig, SFTTrainer

from deepeyes_env.agents.transformers.architecture import architecture_of
from deepeyes_env.agents.transformers.policy import FROM_FILES, check_directory
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.trainers.sft.collator import COLUMN, Collator
from deepeyes_env.trainers.sft.config import SFTSettings, sft_arguments
from deepeyes_env.trainers.sft.plan import Plan
from deepeyes_env.trainers.trl.run import save

MATRICES = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"
"""What adapters are put on."""


def run(plan: Plan) -> Path:
    """Train; returns the folder of the trained model.

    Raises:
        UsageError: TRL refuses an argument of ``sft``.
        MissingExtraError: LoRA is asked for, and peft is not installed.
    """
    trainer = make_trainer(plan)
    trainer.train()
    folder = plan.settings.out / "model"
    if trainer.accelerator.is_main_process:
        save(trainer.accelerator.unwrap_model(trainer.model), plan.settings.folder, folder)
    return folder


def make_trainer(plan: Plan) -> Any:
    """Return the trainer of a run.

    TRL refuses ``assistant_only_loss`` for rows with images, and makes Qwen's processor, which wants torchvision. So it
    is given a tokenizer, rows that hold no images, and a collator that makes labels and patches.

    Raises:
        UsageError: TRL refuses an argument of ``sft``.
        MissingExtraError: LoRA is asked for, and peft is not installed.
    """
    settings = plan.settings
    arguments = _arguments(settings)
    made = architecture_of(check_directory(settings.folder))
    model: Any = made.model_class.from_pretrained(
        settings.folder, dtype=torch.float32, use_safetensors=True, **FROM_FILES
    )
    if settings.freeze_vision or settings.lora:
        model.model.visual.requires_grad_(False)
    return SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict({COLUMN: list(range(len(plan.examples)))}),
        processing_class=plan.chat.tokenizer,
        data_collator=Collator(plan.examples, plan.chat, model.config),
        peft_config=_lora(settings),
    )


def _arguments(settings: SFTSettings) -> Any:
    gpu = torch.cuda.is_available()
    bfloat16 = settings.dtype == "bfloat16" or (settings.dtype == "auto" and gpu)
    given = sft_arguments(settings, bfloat16=bfloat16)
    try:
        return SFTConfig(**({} if gpu else {"use_cpu": True}), **given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"sft: TRL refuses its settings: {error}") from error


def _lora(settings: SFTSettings) -> Any:
    if not settings.lora:
        return None
    peft = import_extra("peft", "trl")
    return peft.LoraConfig(r=settings.lora, lora_alpha=2 * settings.lora, target_modules=MATRICES)
