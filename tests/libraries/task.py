"""The small task that other libraries play: look before you answer."""

import gymnasium as gym

import deepeyes_env  # noqa: F401  registers the environments
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.wrappers import (
    DiscreteAction,
    FixedSizeObservation,
    PlainInfo,
    QuestionNumbers,
    StructuredAction,
)


def task(*, question=True, text=True, size=36):
    """Eight questions, nine places to look at, six answers of which four are the question's; at most two turns.

    A look earns 1.2 and a right answer 0.8, so that a policy that learns anything learns to look first.
    """
    env = gym.make("VisualToolbox-v2", dataset=VisualSearch(length=8), rubric="unconditional_tool", max_turns=2)
    env = FixedSizeObservation(PlainInfo(env, text=text), size)
    return DiscreteAction(StructuredAction(QuestionNumbers(env) if question else env, max_options=6))
