"""Is this answer right: rules and math, and the chain of several judges."""

from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, ChainJudge, Judge, JudgeError, Verdict
from deepeyes_env.judges.maths import MathJudge
from deepeyes_env.judges.rules import RuleJudge

__all__ = ["MAX_ANSWER_LENGTH", "ChainJudge", "Judge", "JudgeError", "MathJudge", "RuleJudge", "Verdict"]
