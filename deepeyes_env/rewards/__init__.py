"""Rewards: rubrics, their terms, and the papers' formulas as presets."""

from deepeyes_env.rewards.answers import (
    AnswerRule,
    Extraction,
    boxed_answer,
    given_answer,
    required_answer,
    thought_and_answer,
    thought_calls_and_answer,
)
from deepeyes_env.rewards.evidence import Evidence
from deepeyes_env.rewards.presets import RubricLike, get_rubric, register_rubric
from deepeyes_env.rewards.rubric import BaseRubric, RoutedRubric, Rubric, Term

__all__ = [
    "AnswerRule",
    "BaseRubric",
    "Evidence",
    "Extraction",
    "RoutedRubric",
    "Rubric",
    "RubricLike",
    "Term",
    "boxed_answer",
    "get_rubric",
    "given_answer",
    "register_rubric",
    "required_answer",
    "thought_and_answer",
    "thought_calls_and_answer",
]
