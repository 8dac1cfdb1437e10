"""build: the policy and the environments of a run, from its settings."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.agent import TransformersAgent
from deepeyes_env.agents.transformers.generator import Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy, check_device
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.envs.vector import BatchedVectorEnv, make_vector_env
from deepeyes_env.errors import UsageError
from deepeyes_env.images.store import ImageStore
from deepeyes_env.rewards import BaseRubric, get_rubric
from deepeyes_env.rewards.rubric import EffectsLater
from deepeyes_env.trainers.grpo.checkpoint import reading
from deepeyes_env.trainers.grpo.config import Config, model_folder
from deepeyes_env.trainers.grpo.credit import Credit
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


def make_credit(config: Config, env: BatchedVectorEnv, policy: VisionPolicy) -> Credit:
    """Make what plays on from the calls of a run's episodes."""
    sampling = Sampling(config.rollout.temperature, config.rollout.max_new_tokens)
    agent = TransformersAgent(policy, sampling=sampling, seed=config.seed)
    return Credit(env, agent, rubric_of(config), config.credit, config.seed)


def rubric_of(config: Config) -> BaseRubric:
    """Return the rubric of a run, also where it is the environment's own.

    Raises:
        UsageError: The environment has none.
    """
    own = get_toolbox(config.env.toolbox).rubric
    if config.env.rubric == "auto" and own is None:
        raise UsageError(f"env.rubric=auto: {config.env.toolbox} has no rubric of its own; give one")
    return get_rubric(own if config.env.rubric == "auto" and own is not None else config.env.rubric)


def make_env(config: Config, questions: Questions) -> BatchedVectorEnv:
    """Make the environments of a run: as many as a step has episodes."""
    kwargs: dict[str, Any] = {
        "dataset": questions.dataset,
        "rubric": EffectsLater(rubric_of(config)) if config.credit.share else config.env.rubric,
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
