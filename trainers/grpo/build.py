"""build: the policy and the environments of a run, from its settings."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.policy import VisionPolicy, check_device
from deepeyes_env.envs.vector import BatchedVectorEnv, make_vector_env
from deepeyes_env.images.store import ImageStore
from deepeyes_env.trainers.grpo.checkpoint import reading
from deepeyes_env.trainers.grpo.config import Config, model_folder
from deepeyes_env.trainers.grpo.questions import Questions
from deepeyes_env.trainers.grpo.sections import OptimSettings


def load_policy(config: Config, checkpoint: Path | None = None) -> VisionPolicy:
    """Load the policy that a run starts from, or resumes.

    Raises:
        UsageError: The model directory cannot be used, or the device is not there.
        CheckpointError: The checkpoint cannot be read.
    """
    optim = config.optim
    device = device_of(optim)
    on_cpu = check_device(device, "optim.device").type == "cpu"
    if on_cpu:
        torch.set_num_threads(optim.threads)
    dtype = dtype_of(optim, on_cpu)
    source = checkpoint or model_folder(config)
    with reading(checkpoint) if checkpoint else nullcontext():
        return VisionPolicy.load(source, device, getattr(torch, dtype))


def device_of(optim: OptimSettings) -> str:
    """Return the device that a run takes."""
    return optim.device if optim.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


def dtype_of(optim: OptimSettings, on_cpu: bool) -> str:
    """Return the type that a run computes in."""
    return optim.dtype if optim.dtype != "auto" else "float32" if on_cpu else "bfloat16"


def make_env(config: Config, questions: Questions) -> BatchedVectorEnv:
    """Make the environments of a run: as many as a step has episodes."""
    kwargs: dict[str, Any] = {
        "dataset": questions.dataset,
        "rubric": config.env.rubric,
        "prompt": config.env.prompt,
        "prompt_template": config.env.prompt_template,
        "max_turns": config.env.max_turns,
        "frame": family_of(model_folder(config)).frame,
        "store": ImageStore(config.env.image_memory * 2**20),
        **({"view": questions.view} if questions.view else {}),
    }
    rollout = config.rollout
    return make_vector_env(
        rollout.backend,
        config.env.toolbox,
        rollout.prompts * rollout.group_size,
        group_size=rollout.group_size,
        workers=rollout.actors,
        spare_cpus=config.optim.threads,
        autoreset_mode=AutoresetMode.DISABLED,
        **kwargs,
    )
