"""What a judge is: it says whether an answer is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from deepeyes_env.core import Sample
from deepeyes_env.errors import UsageError

MAX_ANSWER_LENGTH = 1000
"""An answer of this many characters or more is wrong unread: long answers game a judge (DeepEyes, ``vl_agent.py``)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge found.

    Attributes:
        score: How right the answer is, from 0 (wrong) to 1 (right).
        judge: Name of the judge that decided.
        reason: Why, in a few words; may be empty.

    Raises:
        UsageError: ``score`` is not in ``[0, 1]``.
    """

    score: float
    judge: str
    reason: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.score) or not 0 <= self.score <= 1:
            raise UsageError(f"Verdict(score={self.score!r}, judge={self.judge!r}): score must be from 0 to 1")


@runtime_checkable
class Judge(Protocol):
    """Decides whether an answer is right. Judges are called from several threads at once."""

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer.

        Args:
            prediction: The answer, as extracted from the policy's message.
            sample: The question, its options in the order shown, and the right answer.

        Returns:
            The verdict, or ``None`` to abstain: this judge cannot tell, another may.

        Raises:
            JudgeError: The judge could not be reached or understood.
        """
        ...


def checked(verdict: object, judge: object) -> Verdict | None:
    """Return what a judge returned, if it is what judges return.

    Raises:
        UsageError: It is something else, ``True`` for instance.
    """
    if verdict is None or isinstance(verdict, Verdict):
        return verdict
    shown = repr(verdict)
    raise UsageError(
        f"judge {judge!r} returned {shown if len(shown) <= 80 else shown[:80] + '...'}, a {type(verdict).__name__}; "
        'return Verdict(score, judge), for instance Verdict(1.0, "mine"), or None to abstain'
    )


class ChainJudge:
    """Asks judges one after another and takes the first verdict.

    A chain abstains when all of its judges do, and so can be part of another chain. A rubric turns an abstention into a
    ``JudgeError``; end the chain with a judge that always decides, such as ``RuleJudge()``, to rule that out. An
    error of a judge is raised at once: the next judge is asked about what the one before could not tell, never in its
    place.

    Args:
        judges: The judges, in the order in which they are asked: cheap and certain ones first.

    Raises:
        UsageError: No judges.
    """

    def __init__(self, *judges: Judge) -> None:
        if not judges:
            raise UsageError("ChainJudge(): has no judges; give at least one")
        self.judges = judges

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Return the first verdict, or ``None`` if every judge abstained."""
        for judge in self.judges:
            verdict = checked(judge(prediction, sample), judge)
            if verdict is not None:
                return verdict
        return None

    def __repr__(self) -> str:
        return f"ChainJudge({', '.join(map(repr, self.judges))})"
