"""Adapters to TRL: our environments as its ``environment_factory`` and, with our own loop, as its ``rollout_func``.

Heavy: importing this package imports TRL, torch and transformers.
"""

from deepeyes_env.extras import require_extra

require_extra("trl", "trl", "datasets", "torch", "transformers")

from deepeyes_env.trainers.trl.environment import ToolboxEnvironment, environment_factory
from deepeyes_env.trainers.trl.processor import load_processor, with_tool_calls
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
    "with_tool_calls",
]
