"""Is this answer right: rules, mathematics, a language model, and the chain of several judges."""

from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, ChainJudge, Judge, Verdict
from deepeyes_env.judges.llm import LLMJudge
from deepeyes_env.judges.maths import MathJudge
from deepeyes_env.judges.presets import JUDGES, make_judge, register_judge
from deepeyes_env.judges.rules import RuleJudge

__all__ = [
    "JUDGES",
    "MAX_ANSWER_LENGTH",
    "ChainJudge",
    "Judge",
    "LLMJudge",
    "MathJudge",
    "RuleJudge",
    "Verdict",
    "make_judge",
    "register_judge",
]
