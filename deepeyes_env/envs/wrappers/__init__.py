"""Wrappers that let an ordinary reinforcement-learning algorithm play.

Images of one size, actions that are numbers, the question as numbers, and an ``info`` that other libraries can take.
"""

from deepeyes_env.envs.wrappers.discrete_action import DiscreteAction, grid_places
from deepeyes_env.envs.wrappers.fixed_size import FixedSizeObservation
from deepeyes_env.envs.wrappers.flat_action import FlatAction
from deepeyes_env.envs.wrappers.plain_info import PlainInfo
from deepeyes_env.envs.wrappers.question_numbers import QuestionNumbers, hash_words
from deepeyes_env.envs.wrappers.structured_action import StructuredAction

__all__ = [
    "DiscreteAction",
    "FixedSizeObservation",
    "FlatAction",
    "PlainInfo",
    "QuestionNumbers",
    "StructuredAction",
    "grid_places",
    "hash_words",
]
