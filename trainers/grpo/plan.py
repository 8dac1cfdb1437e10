"""Plan: the memory that a run will take, from its settings and the model's ``config.json`` alone."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.data import load
from deepeyes_env.data.dataset import VISUAL_SEARCH
from deepeyes_env.errors import UsageError
from deepeyes_env.trainers.grpo.build import device_of, dtype_of
from deepeyes_env.trainers.grpo.config import Config, model_folder, validated
from deepeyes_env.trainers.grpo.footprint import Load, ModelShape, Parts, Precision, footprint, trainable
from deepeyes_env.trainers.grpo.questions import file_view

PROMPT_TEXT, OBSERVATION_TEXT = 800, 48
"""Tokens of text that are allowed for in a prompt besides its question, and in an observation."""

LOOKED_AT = 32
"""Rows of a data file that are looked at for the number of images and the length of a question."""

USABLE = 0.9
"""Share of a device's memory that tensors can fill: kernels, the context and fragments take the rest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will take.

    Attributes:
        title: What was planned.
        stages: The bytes of each stage by what they are for.
        parts: What there are bytes for, largest first.
        notes: What was assumed, whether it fits, and what would take less.
        fits: Whether the largest stage fits into the device.
    """

    title: str
    stages: Mapping[str, Parts]
    parts: Sequence[str]
    notes: Sequence[str]
    fits: bool

    @property
    def peak(self) -> int:
        """Bytes of the largest stage."""
        return _peak(self.stages)


def make_plan(config: Config, memory: float | None = None) -> Plan:
    """Plan a run; no weights are read.

    Args:
        config: Its settings.
        memory: Gigabytes of a GPU to plan for; by default the memory of the device that the run would take here.

    Raises:
        UsageError: The model directory cannot be used, or its context is too short for the settings.
        DataError: The data cannot be read.
    """
    folder = model_folder(config)
    check_directory(folder)
    from transformers import AutoConfig

    model = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    on_cpu = memory is None and torch.device(device_of(config.optim)).type == "cpu"
    bytes_there = int(memory * 1e9) if memory is not None else _memory_of(device_of(config.optim))
    images, text = _prompt_of(config)
    stages, expected, precision = _stages(config, model, on_cpu, images, text)
    usable = USABLE * bytes_there
    parts = sorted({name for stage in stages.values() for name, size in stage.items() if size}, key=_largest_in(stages))
    shape, peak = ModelShape.of(model), _peak(stages)
    stage = max(stages, key=lambda name: sum(stages[name].values()))
    verdict = (
        f"largest: {stage}, {peak / 1e9:.2f} GB of the device's {bytes_there / 1e9:.1f} "
        f"({USABLE:.0%} of which tensors can fill): {'fits' if peak <= usable else 'does NOT fit'}"
    )
    assumed = (
        f"longest episode: a prompt of {expected.prompt} tokens ({text} of text, {images} images), then "
        f"{expected.completion}, {expected.policy_tokens} of them the policy's"
    )
    less = [
        f"{name}: {size / 1e9:.2f} GB"
        for name, size in _alternatives(config, model, on_cpu, images, text)
        if size < 0.97 * peak
    ]
    notes = [
        f"{shape.weights / 1e6:.1f} million weights, {trainable(shape, precision) / 1e6:.1f} million of them trained, "
        f"computed in {'bfloat16' if precision.half else 'float32'}",
        assumed,
        verdict,
        *(f"  with {line}" for line in less),
    ]
    return Plan(f"{folder.name}, {config.rollout.prompts} x {config.rollout.group_size} episodes a step",
                stages, parts, notes, peak <= usable)  # fmt: skip


def expected_load(config: Config, context: int, image_tokens: int, images: int, text: int) -> Load:
    """Return the load of a step of the longest episodes that settings allow.

    Args:
        config: The settings.
        context: Length of the model's context.
        image_tokens: Most tokens of an image.
        images: Images of a prompt.
        text: Tokens of its text.

    Raises:
        UsageError: No prompt fits into the context.
    """
    rollout, new = config.rollout, config.rollout.max_new_tokens
    most = min(context, rollout.max_episode_tokens or context)
    prompt, observation = text + images * image_tokens, OBSERVATION_TEXT + image_tokens
    if prompt + new > most:
        raise UsageError(
            f"a prompt of up to {prompt} tokens with rollout.max_new_tokens={new} does not fit into the {most} tokens "
            "of the context or of rollout.max_episode_tokens; lower env.max_pixels (scenes.view_pixels)"
        )
    turns = min(config.env.max_turns, 1 + (most - prompt - new) // (new + observation))
    completion = turns * new + (turns - 1) * observation
    tokens = config.optim.micro_batch_tokens
    pack_size = min(rollout.group_size, max(1, (tokens - prompt) // completion))
    groups = math.ceil(rollout.prompts / config.optim.minibatches)
    in_all = groups * math.ceil(rollout.group_size / pack_size)
    packs = min(in_all, max(1, tokens // (prompt + pack_size * completion)))
    return Load(
        groups=rollout.prompts,
        group_size=rollout.group_size,
        prompt=prompt,
        completion=completion,
        message=new,
        policy_tokens=turns * new,
        prompt_patches=4 * images * image_tokens,
        completion_patches=4 * (turns - 1) * image_tokens,
        observation=observation if turns > 1 else 0,
        observation_patches=4 * image_tokens if turns > 1 else 0,
        packs=packs,
        pack_size=pack_size,
        microbatches=math.ceil(in_all / packs),
    )


def _stages(
    config: Config, model: Any, on_cpu: bool, images: int, text: int
) -> tuple[Mapping[str, Parts], Load, Precision]:
    precision = Precision(
        half=dtype_of(config.optim, on_cpu) == "bfloat16",
        checkpointing=config.optim.gradient_checkpointing,
        lora_rank=config.weights.lora_rank,
        frozen_vision=config.weights.freeze_vision,
        reference=config.algorithm.kl != "off",
    )
    side = model.vision_config.patch_size * model.vision_config.spatial_merge_size
    pixels = config.scenes.view_pixels if config.data == VISUAL_SEARCH else file_view(config).max_pixels
    context = model.text_config.max_position_embeddings
    expected = expected_load(config, context, pixels // side**2, images, text)
    return footprint(ModelShape.of(model), expected, precision), expected, precision


def _prompt_of(config: Config) -> tuple[int, int]:
    """Return the most images and tokens of text in a prompt, by the first rows of the data."""
    if config.data == VISUAL_SEARCH:
        return 1, PROMPT_TEXT
    data = load(config.data)
    rows = [data[index] for index in range(min(LOOKED_AT, len(data)))]
    longest = max((len(row.question) for row in rows), default=0)
    return max((len(row.images) for row in rows), default=1), PROMPT_TEXT + longest // 3


def _alternatives(config: Config, model: Any, on_cpu: bool, images: int, text: int) -> list[tuple[str, int]]:
    """Return settings that take less, with the bytes of the largest stage that each leaves."""
    rollout, optim = config.rollout, config.optim
    pixels = "view_pixels" if config.data == VISUAL_SEARCH else "max_pixels"
    section = "scenes" if config.data == VISUAL_SEARCH else "env"
    changes: list[tuple[str, str, Any]] = [
        ("optim", "gradient_checkpointing", True),
        ("optim", "micro_batch_tokens", max(1, optim.micro_batch_tokens // 2)),
        ("weights", "lora_rank", config.weights.lora_rank or 16),
        ("weights", "freeze_vision", True),
        ("rollout", "prompts", max(optim.minibatches, rollout.prompts // 2)),
        ("rollout", "max_new_tokens", max(1, rollout.max_new_tokens // 2)),
        (section, pixels, getattr(getattr(config, section), pixels) // 2),
        ("algorithm", "kl", "off"),
    ]
    found = []
    for section, name, value in changes:
        settings = config.model_dump()
        settings[section][name] = value
        try:
            stages, _, _ = _stages(validated(settings), model, on_cpu, images, text)
        except UsageError:
            continue  # no run could have it
        found.append((f"{section}.{name}={str(value).lower() if isinstance(value, bool) else value}", _peak(stages)))
    return sorted(found, key=lambda pair: pair[1])


def _peak(stages: Mapping[str, Parts]) -> int:
    return max(sum(parts.values()) for parts in stages.values())


def _largest_in(stages: Mapping[str, Parts]) -> Any:
    return lambda part: -max(stage.get(part, 0) for stage in stages.values())


def _memory_of(device: str) -> int:
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
