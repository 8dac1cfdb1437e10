"""Adapters to TRL: our environments as its ``environment_factory`` and, with our own loop, as its ``rollout_func``."""

from deepeyes_env.extras import needs_extra

with needs_extra("trl"):
    import datasets  # noqa: F401  # the modules below begin with these
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import trl  # noqa: F401

from deepeyes_env.trainers.trl.environment import ToolboxEnvironment, environment_factory
from deepeyes_env.trainers.trl.processor import load_processor, unsampled_tokens, with_tool_calls
from deepeyes_env.trainers.trl.reward import EpisodeReward
from deepeyes_env.trainers.trl.rollout import EpisodeRollouts, VisionRolloutTrainer
from deepeyes_env.trainers.trl.rows import make_rows

__all__ = [
    "EpisodeReward",
    "EpisodeRollouts",
    "ToolboxEnvironment",
    "VisionRolloutTrainer",
    "environment_factory",
    "load_processor",
    "make_rows",
    "unsampled_tokens",
    "with_tool_calls",
]
