"""VerlConfig: the settings of a run inside verl, from a preset, a YAML file and ``key=value`` overrides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from deepeyes_env.data.dataset import PATTERN_SEARCH
from deepeyes_env.errors import UsageError
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.grpo.sections import Section, checked
from deepeyes_env.trainers.grpo.settings_file import read_settings
from deepeyes_env.trainers.verl.settings import LoopSettings

PRESETS = Path(__file__).parent / "presets"
"""Folder of the settings files that come with the package."""

TINY = "tiny"
"""The name of the shipped tiny policy, in place of a model directory; and of the preset that trains it."""

ESTIMATORS = {
    "grpo": "deepeyes_grpo",
    "dr_grpo": "deepeyes_dr_grpo",
    "rloo": "deepeyes_rloo",
    "reinforce_plus_plus": "deepeyes_reinforce_plus_plus",
    "ppo": "gae",
}
"""What verl calls the advantage estimator of each algorithm: ours, but for PPO, whose critic it makes for its own."""


class VerlConfig(Section):
    """A run of verl's trainer.

    Attributes:
        model: ``tiny``, or the folder of a model.
        train: Data sets to train on: names, files or folders, as ``deepeyes_env.data.load`` takes them.
        test: Data sets for validation.
        out: Folder of the run.
        algorithm: What is optimised.
        steps: How many steps.
        seed: Seed of all random draws.
        nodes: Machines.
        gpus: GPUs of each.
        gpu_memory: Memory of a GPU in GiB.
        node_memory: Memory of a machine in GiB.
        prompts: Questions in a step.
        group_size: Rollouts of each question.
        mini_batch: Questions in an update; as many updates a step as there are mini-batches in it.
        prompt_tokens: The most tokens of a prompt, images included.
        response_tokens: The most tokens of all that follows it, observations included.
        lr: Learning rate.
        critic_lr: Learning rate of PPO's critic.
        kl: Weight of the KL term in the loss; 0: none, and no reference model is loaded.
        temperature: Sampling temperature.
        sequence_parallel: GPUs that share the tokens of a micro-batch.
        micro_batch_tokens: Tokens of a micro-batch for each GPU; ``None``: as many as the longest episode needs.
        offload: Keep weights and optimizer in the machine's memory while rollouts are played.
        engine: What plays: an inference server of verl, or ours for a CPU.
        engine_memory: Share of a GPU's memory that the server may take.
        tensor_parallel: GPUs of one inference server.
        workers: Processes that play episodes.
        save_every: Steps between checkpoints; 0: none.
        test_every: Steps between validations; 0: none.
        loop: Settings of the agent loop: ``LoopSettings``.
        plugins: Modules with toolboxes and rubrics of your own, loaded in all of verl's processes.
        environment: Variables for verl's processes.
        verl: Further settings of verl by its own names; they win over what the settings above make of them. A name that
            verl has not is begun with ``+``.
    """

    model: str = TINY
    train: tuple[str, ...] = Field(default=(PATTERN_SEARCH,), min_length=1)
    test: tuple[str, ...] = Field(default=(PATTERN_SEARCH,), min_length=1)
    out: Path = Path("runs/verl")
    algorithm: Literal["grpo", "dr_grpo", "rloo", "reinforce_plus_plus", "ppo"] = "grpo"
    steps: int = Field(default=80, ge=1)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    nodes: int = Field(default=1, ge=1)
    gpus: int = Field(default=8, ge=1)
    gpu_memory: float = Field(default=80, gt=0)
    node_memory: float = Field(default=1200, gt=0)
    prompts: int = Field(default=256, ge=1)
    group_size: int = Field(default=16, ge=1)
    mini_batch: int = Field(default=32, ge=1)
    prompt_tokens: int = Field(default=8192, ge=1)
    response_tokens: int = Field(default=20480, ge=1)
    lr: float = Field(default=1e-6, gt=0)
    critic_lr: float = Field(default=1e-5, gt=0)
    kl: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    sequence_parallel: int = Field(default=1, ge=1)
    micro_batch_tokens: int | None = Field(default=None, ge=1)
    offload: bool = True
    engine: Literal["vllm", "sglang", "deepeyes_cpu"] = "vllm"
    engine_memory: float = Field(default=0.6, gt=0, lt=1)
    tensor_parallel: int = Field(default=1, ge=1)
    workers: int = Field(default=8, ge=1)
    save_every: int = Field(default=10, ge=0)
    test_every: int = Field(default=10, ge=0)
    loop: dict[str, Any] = Field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    verl: dict[str, Any] = Field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The model directory that the run starts from."""
        from deepeyes_env.trainers.tiny import BASE

        return BASE if self.model == TINY else Path(self.model).expanduser()

    @property
    def settings(self) -> LoopSettings:
        """How episodes are played."""
        return LoopSettings.of(self.loop)

    @property
    def context(self) -> int:
        """The most tokens of an episode."""
        return self.prompt_tokens + self.response_tokens

    @property
    def tokens_per_gpu(self) -> int:
        """Tokens of a micro-batch for each GPU."""
        return self.micro_batch_tokens or math.ceil(self.context / self.sequence_parallel)

    @model_validator(mode="after")
    def _fits_together(self) -> VerlConfig:
        gpus = self.nodes * self.gpus
        for name, parts, whole, what in (
            ("mini_batch", self.mini_batch, self.prompts, "prompts"),
            ("sequence_parallel", self.sequence_parallel, gpus, "GPUs"),
            ("tensor_parallel", self.tensor_parallel, gpus, "GPUs"),
        ):
            if whole % parts:
                raise UsageError(f"{name}={parts}: must divide the {whole} {what}")
        if (self.mini_batch * self.group_size) % (gpus // self.sequence_parallel):
            raise UsageError(
                f"mini_batch={self.mini_batch}: its {self.mini_batch * self.group_size} rollouts must divide among "
                f"{gpus // self.sequence_parallel} GPUs, or groups of GPUs that share tokens"
            )
        if self.tokens_per_gpu * self.sequence_parallel < self.context:
            raise UsageError(
                f"micro_batch_tokens={self.micro_batch_tokens}: the longest episode has {self.context} tokens, and "
                f"{self.sequence_parallel} GPUs take {self.tokens_per_gpu * self.sequence_parallel}; raise it"
            )
        if self.algorithm != "reinforce_plus_plus" and self.algorithm != "ppo" and self.group_size < 2:
            raise UsageError(
                f"group_size={self.group_size}: {self.algorithm} compares rollouts of one question; raise it"
            )
        _ = self.settings
        return self


def load_config(overrides: Sequence[str] = (), path: Path | None = None) -> VerlConfig:
    """Return the settings of a run; without a file those of the tiny policy on a CPU.

    Args:
        overrides: ``key=value``, nested names with dots: ``loop.max_turns=7``, ``verl.trainer.val_before_train=true``.
            Values are YAML.
        path: A YAML file, or the name of a preset.

    Raises:
        UnknownNameError: No setting, preset or choice has that name; the message has the nearest one.
        UsageError: A value is wrong, or an override has no ``=``.
        DataError: The file holds no settings.
    """
    return checked(VerlConfig, read_settings(overrides, path or Path(TINY), PRESETS))
