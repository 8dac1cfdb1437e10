"""outcomes.jsonl: what came of each episode, a line each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from deepeyes_env.agents.counterfactuals.plan import Asked
from deepeyes_env.agents.evaluation.rows import context_tokens, written_tokens
from deepeyes_env.agents.evaluation.score_file import Score
from deepeyes_env.agents.evaluation.votes import vote
from deepeyes_env.agents.play import Failure
from deepeyes_env.agents.run_folder import OUTCOMES, number_of
from deepeyes_env.core import RewardTerm, Sample, Trajectory, is_right
from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DataError
from deepeyes_env.json_lines import read_lines
from deepeyes_env.trajectories.schema import from_fields


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one episode.

    Attributes:
        episode: Its number.
        seed: Its seed.
        sample: See ``plan.Asked``.
        condition: See ``plan.Asked``.
        repeat: See ``plan.Asked``.
        call: See ``plan.Asked``.
        sample_id: Id of the sample; empty if it could not be read.
        score: How right the answer is, from 0 to 1; ``None`` if there is no verdict.
        answer: The answer that was judged; ``None`` if the episode has none.
        reason: What the judge said about it.
        vote: The answer in a form in which equal ones are equal, as JSON; empty where it names none.
        iou: IoU of the best zoom box with the ground truth; ``None`` without either.
        terms: The terms of the rubric.
        calls: Number of tool calls.
        written: Tokens that the policy wrote.
        context: Tokens of the whole conversation, about.
        error: Why there is no verdict: the sample cannot be read or not be asked like that, the policy or the judge
            failed. Empty if there is one. What has an error is tried again when the run is resumed.
    """

    episode: int
    seed: int
    sample: int
    condition: str
    repeat: int
    call: int = -1
    sample_id: str = ""
    score: float | None = None
    answer: str | None = None
    reason: str = ""
    vote: str = ""
    iou: float | None = None
    terms: Mapping[str, RewardTerm] = field(default_factory=dict)
    calls: int = 0
    written: int = 0
    context: int = 0
    error: str = ""

    @property
    def right(self) -> bool | None:
        """Whether the answer is more right than wrong; ``None`` without a verdict."""
        return None if self.score is None else is_right(self.score)

    @classmethod
    def of(cls, asked: Asked, end: Trajectory | Failure, score: Score | None = None) -> Outcome:
        """Return what came of an episode.

        Args:
            asked: What it asked.
            end: How it ended.
            score: What the judge said; ``None`` for a failure.
        """
        played = end.trajectory if isinstance(end, Failure) else end
        return cls(
            end.episode.number if isinstance(end, Failure) else number_of(end),
            end.episode.seed if isinstance(end, Failure) else int(end.metadata["seed"]),
            asked.sample,
            asked.condition,
            asked.repeat,
            asked.call,
            sample_id=played.sample.id if played else "",
            score=score.value if score and not score.error else None,
            answer=score.prediction if score else None,
            reason=score.reason if score else "",
            vote=_vote_of(score.prediction, played.sample) if score and played else "",
            iou=played.best_iou if played else None,
            terms=score.terms if score else {},
            calls=len(played.results) if played else 0,
            written=written_tokens(played) if played else 0,
            context=context_tokens(played) if played else 0,
            error=end.error if isinstance(end, Failure) else score.error if score else "",
        )

    def as_line(self) -> str:
        """Return it as a line of JSON."""
        return json.dumps({each.name: getattr(self, each.name) for each in fields(self)}, default=asdict)


def _vote_of(prediction: str | None, sample: Sample) -> str:
    voted = vote(prediction, sample)
    return "" if voted is None else json.dumps(voted, default=str)


def read_outcomes(folder: str | Path) -> Iterator[Outcome]:
    """Give the outcomes in a folder in the order in which they were written, those of failed attempts included.

    Raises:
        DataError: A whole line is no outcome.
    """
    path = Path(folder) / OUTCOMES
    for number, line in read_lines(path):
        try:
            yield from_fields(parse_object(line), Outcome)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: is no outcome ({error}); delete the line, and --resume asks anew"
            ) from error


def last_outcomes(folder: str | Path) -> dict[int, Outcome]:
    """Return the last outcome of each episode by its number: that with a verdict, if there is one."""
    return {outcome.episode: outcome for outcome in read_outcomes(folder)}
