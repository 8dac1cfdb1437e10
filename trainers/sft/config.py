"""The settings of supervised fine-tuning, and what of them becomes TRL's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from deepeyes_env.agents.hub import model_directory
from deepeyes_env.errors import UsageError
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.grpo.sections import Section, checked
from deepeyes_env.trainers.grpo.settings_file import read_settings
from deepeyes_env.trajectories.export import Selection

TINY = "tiny"
"""The name of the shipped tiny policy, in place of a model directory."""


class SFTSettings(Section):
    """Supervised fine-tuning. Rate, schedule, epochs and the frozen vision tower are those of DeepEyesV2's cold start.

    Attributes:
        model: ``tiny``, or the folder of a model of a family that is run here.
        out: Folder of the run.
        right: Of runs, only episodes whose answer was judged right.
        clean: Of runs, only episodes without a failed call, with an answer.
        used_tools: Of runs, only episodes in which a tool returned an image.
        only_useful_calls: Of runs, only episodes whose calls all mattered; see ``deepeyes credit``.
        min_reward: Of runs, only episodes with at least this reward.
        tools: ``on`` or ``off``: of runs, only episodes with tools, or without; by default both.
        max_tokens: Most tokens of an example, images included; longer ones are left out, none is cut. By default, and
            at most, the model's context.
        min_pixels: Least pixels at which an image of a data file is shown; those of runs are shown as they were.
        max_pixels: Most pixels at which an image of a data file is shown.
        epochs: Passes over the examples.
        steps: How many steps, in place of ``epochs``.
        batch: Examples in one forward and backward pass.
        accumulation: Passes in a step.
        lr: Learning rate, at its highest.
        warmup: Share of the steps in which the learning rate rises; then it falls as a cosine.
        lora: Rank of LoRA adapters on the matrices of the language model; 0 trains all weights.
        freeze_vision: Do not train the vision tower and its projector; with adapters they never are.
        dtype: What is computed in; ``auto`` is ``bfloat16`` on a GPU, else ``float32``. Weights that are trained are
            ``float32``.
        seed: Seed of the order of examples and of adapters.
        sft: Further arguments of TRL's ``SFTConfig``; they win over what the settings above make of them.
    """

    model: str = TINY
    out: Path = Path("runs/sft")
    right: bool = True
    clean: bool = True
    used_tools: bool = False
    only_useful_calls: bool = False
    min_reward: float | None = None
    tools: Literal["on", "off"] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    min_pixels: int = Field(default=56 * 56, ge=28 * 28)
    max_pixels: int = Field(default=512 * 512, ge=28 * 28)
    epochs: float = Field(default=3.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=1, ge=1)
    accumulation: int = Field(default=4, ge=1)
    lr: float = Field(default=1e-5, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    lora: int = Field(default=0, ge=0)
    freeze_vision: bool = True
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    sft: dict[str, Any] = Field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The model directory that the run starts from."""
        from deepeyes_env.trainers.tiny import BASE

        return BASE if self.model == TINY else model_directory(self.model)

    @property
    def selection(self) -> Selection:
        """Which episodes of runs are trained on."""
        return Selection(self.right, self.min_reward, self.clean, self.used_tools, self.tools, self.only_useful_calls)


def load_settings(overrides: Sequence[str] = (), path: Path | None = None) -> SFTSettings:
    """Return the settings of a run.

    Args:
        overrides: ``key=value``; arguments of TRL's own as ``sft.weight_decay=0.01``. Values are YAML.
        path: A YAML file.

    Raises:
        UnknownNameError: No setting or choice has that name; the message has the nearest one.
        UsageError: A value is wrong, or an override has no ``=``.
        DataError: The file holds no settings.
    """
    settings = checked(SFTSettings, read_settings(overrides, path))
    if settings.min_pixels > settings.max_pixels:
        raise UsageError(f"min_pixels={settings.min_pixels} is more than max_pixels={settings.max_pixels}; swap them")
    return settings


OURS = (
    "dataset_kwargs",
    "remove_unused_columns",
    "max_length",
    "packing",
    "assistant_only_loss",
    "completion_only_loss",
)
"""Arguments of TRL's that would take the labels out of our hands, or cut an example in the middle of an image."""


def sft_arguments(settings: SFTSettings, *, bfloat16: bool = False) -> dict[str, Any]:
    """Return the arguments of TRL's ``SFTConfig``.

    Args:
        settings: The settings.
        bfloat16: Whether that is computed in.

    Raises:
        UsageError: An argument of ``sft`` cannot be given here.
    """
    if refused := sorted(set(OURS) & set(settings.sft)):
        raise UsageError(f"sft.{refused[0]}: examples and labels are made here, not by TRL; leave it out")
    made: dict[str, Any] = {
        "output_dir": str(settings.out),
        "max_steps": settings.steps or -1,
        "num_train_epochs": settings.epochs,
        "seed": settings.seed % 2**32,
        "per_device_train_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.accumulation,
        "learning_rate": settings.lr,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup,
        "bf16": bfloat16,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
    }
    fixed = {
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,
        "max_length": None,
    }
    return made | settings.sft | fixed
