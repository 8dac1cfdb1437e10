"""Wrappers that let an ordinary reinforcement-learning algorithm play: images of one size, actions that are numbers."""

from deepeyes_env.envs.wrappers.fixed_size import FixedSizeObservation
from deepeyes_env.envs.wrappers.flat_action import FlatAction
from deepeyes_env.envs.wrappers.structured_action import StructuredAction

__all__ = ["FixedSizeObservation", "FlatAction", "StructuredAction"]
