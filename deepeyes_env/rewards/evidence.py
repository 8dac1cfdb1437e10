"""Evidence: what the terms of a rubric are computed from, each fact found at most once."""

from __future__ import annotations

import math

from deepeyes_env.call_effects import CallEffect, call_effects_of
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import JudgeError, UsageError
from deepeyes_env.judges import MAX_ANSWER_LENGTH, Judge, Verdict
from deepeyes_env.judges.base import checked
from deepeyes_env.rewards.answers import AnswerRule


class Evidence:
    """A trajectory and what is to be known about it for a reward.

    The judge is asked when ``correct`` or ``verdict`` is first read, and only once; not at all if there is no
    answer. One evidence belongs to one thread.

    Attributes:
        trajectory: The finished episode.
        prediction: The answer; ``None`` if there is none, or if it is too long.
        format_error: Whether the policy broke the format; an answer that is too long does.

    Args:
        trajectory: The finished episode.
        answer_rule: Finds the answer.
        judge: Says whether it is right.
        max_answer_length: An answer of so many characters or more is too long; ``None`` for no limit.
    """

    __slots__ = ("_judge", "_verdict", "format_error", "prediction", "trajectory")

    def __init__(
        self,
        trajectory: Trajectory,
        answer_rule: AnswerRule,
        judge: Judge,
        max_answer_length: int | None = MAX_ANSWER_LENGTH,
    ) -> None:
        found = answer_rule(trajectory)
        limit = math.inf if max_answer_length is None else max_answer_length
        too_long = len(found.prediction or "") >= limit
        self.trajectory = trajectory
        self.prediction = None if too_long else found.prediction
        self.format_error = found.format_error or too_long
        self._judge = judge
        self._verdict: Verdict | None = None

    @property
    def sample(self) -> Sample:
        """The question."""
        return self.trajectory.sample

    @property
    def verdict(self) -> Verdict | None:
        """The judge's verdict; ``None`` if there is no answer to judge.

        Raises:
            JudgeError: The judge could not be reached or understood, or it abstained.
            UsageError: It returned something else than a ``Verdict``.
        """
        if self._verdict is None and self.prediction is not None:
            self._verdict = checked(self._judge(self.prediction, self.sample), self._judge)
            if self._verdict is None:
                raise JudgeError(
                    f"sample {self.sample.id!r}: {self._judge!r} abstained; end a chain with a judge that always "
                    "decides, such as RuleJudge()"
                )
        return self._verdict

    @property
    def correct(self) -> float:
        """How right the answer is, from 0 to 1; 0 without an answer. Raises what ``verdict`` raises."""
        verdict = self.verdict
        return verdict.score if verdict is not None else 0.0

    @property
    def used_tool(self) -> bool:
        """Whether at least one tool call returned an image."""
        return self.trajectory.used_tool

    @property
    def call_effects(self) -> tuple[CallEffect, ...]:
        """What each call was worth, as somebody has played it; empty for an episode without calls.

        Raises:
            UsageError: Nobody has; the message says who does.
        """
        effects = call_effects_of(self.trajectory)
        if effects is None and self.trajectory.results:
            raise UsageError(
                f"sample {self.sample.id!r}: what its calls were worth was never played, and a term asks for it; "
                "play it by `deepeyes eval --credit`, or by `deepeyes credit RUN` and judge again by `deepeyes eval "
                "--rescore`, or in training by a credit.share above 0"
            )
        return effects or ()

    def called(self, *names: str) -> bool:
        """Whether the policy called a tool of one of these names, successfully or not."""
        return any(result.call.name in names for result in self.trajectory.results)
