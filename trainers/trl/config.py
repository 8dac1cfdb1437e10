"""The settings of a run with TRL, and what of them becomes TRL's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from deepeyes_env.agents.hub import model_directory
from deepeyes_env.data.dataset import PATTERN_SEARCH
from deepeyes_env.errors import UsageError
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.grpo.sections import Section, checked
from deepeyes_env.trainers.grpo.settings_file import read_settings

TINY = "tiny"
"""The name of the shipped tiny policy, in place of a model directory."""

OBSERVATION = 64
"""Tokens of an observation beside its images, more than our protocols write; TRL counts them as completion."""


class TRLConfig(Section):
    """A run with TRL's ``GRPOTrainer``.

    Attributes:
        model: ``tiny``, or the folder of a Qwen2.5-VL-style model.
        data: A built-in task, or a data file.
        out: Folder of the run.
        steps: How many steps.
        seed: Seed of all random draws.
        play: Who plays the episodes: TRL's tool loop (``environment``), or ours (``rollout``).
        toolbox: Id of the environment.
        rubric: Reward formula; ``auto`` is the environment's own.
        max_turns: Maximum turns of an episode: messages that the policy may write.
        min_pixels: Minimum number of pixels at which an image of a data file is shown.
        max_pixels: Maximum number of pixels at which an image of a data file is shown.
        prompts: Questions in a step.
        group_size: Rollouts of each question.
        micro_batch: Rollouts in one forward and backward pass.
        max_new_tokens: Maximum new tokens of one message.
        temperature: Sampling temperature.
        lr: Learning rate.
        lora: Rank of LoRA adapters; 0 trains all weights.
        dtype: What weights are held in.
        grpo: Further arguments of TRL's ``GRPOConfig``; they win over what the settings above make of them.
    """

    model: str = TINY
    data: str = PATTERN_SEARCH
    out: Path = Path("runs/trl")
    steps: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    play: Literal["environment", "rollout"] = "environment"
    toolbox: str = "VisualToolbox-v2"
    rubric: str = "auto"
    max_turns: int = Field(default=3, ge=1)
    min_pixels: int = Field(default=56 * 56, ge=28 * 28)
    max_pixels: int = Field(default=1024 * 1024, ge=28 * 28)
    prompts: int = Field(default=2, ge=1)
    group_size: int = Field(default=8, ge=2)
    micro_batch: int = Field(default=8, ge=1)
    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    lr: float = Field(default=1e-4, gt=0)
    lora: int = Field(default=0, ge=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    grpo: dict[str, Any] = Field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The model directory that the run starts from."""
        from deepeyes_env.trainers.tiny import BASE

        return BASE if self.model == TINY else model_directory(self.model)


def load_config(overrides: Sequence[str] = (), path: Path | None = None) -> TRLConfig:
    """Return the settings of a run.

    Args:
        overrides: ``key=value``; arguments of TRL's own as ``grpo.beta=0.01``. Values are YAML.
        path: A YAML file.

    Raises:
        UnknownNameError: No setting or choice has that name; the message has the nearest one.
        UsageError: A value is wrong, or an override has no ``=``.
        DataError: The file holds no settings.
    """
    config = checked(TRLConfig, read_settings(overrides, path))
    episodes = config.prompts * config.group_size
    if episodes % config.micro_batch:
        raise UsageError(
            f"micro_batch={config.micro_batch}: must divide the {episodes} rollouts of a step "
            f"(prompts={config.prompts} times group_size={config.group_size})"
        )
    if config.min_pixels > config.max_pixels:
        raise UsageError(f"min_pixels={config.min_pixels} is more than max_pixels={config.max_pixels}; swap them")
    return config


def grpo_arguments(config: TRLConfig, image_tokens: int, unsampled: Sequence[int] = ()) -> dict[str, Any]:
    """Return the arguments of TRL's ``GRPOConfig``.

    Args:
        config: The settings.
        image_tokens: Most tokens of an image that a tool returns.
        unsampled: Tokens that the policy must not sample.
    """
    messages, observations = config.max_turns, config.max_turns - 1
    made: dict[str, Any] = {
        "output_dir": str(config.out),
        "max_steps": config.steps,
        "seed": config.seed % 2**32,
        "per_device_train_batch_size": config.micro_batch,
        "gradient_accumulation_steps": config.prompts * config.group_size // config.micro_batch,
        "num_generations": config.group_size,
        "max_completion_length": messages * config.max_new_tokens + observations * (OBSERVATION + image_tokens),
        "max_tool_calling_iterations": observations,
        "temperature": config.temperature,
        "generation_kwargs": {"max_new_tokens": config.max_new_tokens, "suppress_tokens": list(unsampled)},
        "learning_rate": config.lr,
        "bf16": config.dtype == "bfloat16",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    return made | config.grpo
