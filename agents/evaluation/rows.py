"""Rows: what an evaluation needs to know of each episode, a few hundred bytes each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepeyes_env.agents.evaluation.clock import SECONDS
from deepeyes_env.agents.evaluation.effects import read_effects, with_effects
from deepeyes_env.agents.evaluation.run import Run
from deepeyes_env.agents.evaluation.score_file import Score, last_scores
from deepeyes_env.agents.evaluation.scoring import with_score
from deepeyes_env.agents.evaluation.tool_rates import CallOutcome, outcomes_of
from deepeyes_env.agents.evaluation.votes import vote
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import Trajectory, is_right
from deepeyes_env.data.benchmarks import GROUP, numbered
from deepeyes_env.envs.limits import Limits
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.summary import unknown_tools_of

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Row:
    """One episode in numbers.

    Attributes:
        episode: Its number.
        condition: ``on`` or ``off``: with tools or without.
        sample: Index of its sample.
        sample_id: Id of its sample.
        question: What counts as one question: the sample, or the group of samples with cycled options.
        repeat: Which repeat, from 0.
        orders: In how many orders of its options the question is to be asked, where that is done: as many as it has.
        categories: The sample's categories by field.
        truth: The right answer.
        score: How right the answer is; ``None`` if the judge gave no verdict.
        answer: The answer as it was judged.
        reason: What the judge said about it, or why it gave no verdict.
        vote: The answer in a form in which equal ones are equal.
        box_iou: Overlap of an answer that is a box with the ground truth; ``None`` for other answers.
        iou: IoU of the best zoom box with the ground truth.
        calls: Number of tool calls, failed ones included.
        used_tool: Whether a call returned an image.
        zoomed: Whether a box was looked at.
        failed: Status of each call that did not run.
        turns: Turns: messages of the policy.
        written: Tokens that the policy wrote.
        counted: Whether those were counted by the policy's tokenizer rather than estimated.
        context: Tokens of the whole conversation, about.
        seconds: Seconds that the policy took.
        stop: Why the episode ended.
        finishes: Why each of its messages ended, where the policy's backend says so.
        outcomes: Its tool calls.
        unknown_tools: Tools that the row's own prompt names and the toolbox lacks.
    """

    episode: int
    condition: str
    sample: int
    sample_id: str
    question: str
    repeat: int
    orders: int
    categories: Mapping[str, tuple[str, ...]]
    truth: str
    score: float | None
    answer: str | None
    vote: Hashable | None
    reason: str
    box_iou: float | None
    iou: float | None
    calls: int
    used_tool: bool
    zoomed: bool
    failed: tuple[str, ...]
    turns: int
    written: int
    counted: bool
    context: int
    seconds: float
    stop: str
    finishes: tuple[str, ...] = ()
    outcomes: tuple[CallOutcome, ...] = ()
    unknown_tools: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether the judge found the answer more right than wrong; without a verdict it did not."""
        return is_right(self.score or 0.0)


def read_rows(run: Run) -> list[Row]:
    """Return the rows of all recorded episodes in the order of their numbers; only one episode is held at a time."""
    scores = last_scores(run.folder)
    rows = (_row(run, trajectory, scores) for trajectory in read_trajectories(run.folder))
    listed = sorted(rows, key=lambda row: row.episode)
    return disambiguated(listed, shared_ids(listed))


def shared_ids(rows: Sequence[Row]) -> frozenset[str]:
    """Return the ids that several samples have."""
    samples: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        samples[row.sample_id].add(row.sample)
    return frozenset(name for name, numbers in samples.items() if len(numbers) > 1)


def disambiguated(rows: Sequence[Row], shared: Container[str]) -> list[Row]:
    """Tell samples whose ids are shared apart: they are several questions, whatever their file calls them."""
    return [
        replace(row, question=numbered(row.question, row.sample))
        if row.sample_id in shared and row.question == row.sample_id
        else row
        for row in rows
    ]


def scored_trajectories(run: Run) -> Iterator[Trajectory]:
    """Give the recorded episodes with the judge's verdict as their reward, and what their calls were worth."""
    scores, effects = last_scores(run.folder), read_effects(run.folder)
    judged = (with_score(each, scores.get(number_of(each))) for each in read_trajectories(run.folder))
    return (with_effects(each, effects) for each in judged)


def written_tokens(trajectory: Trajectory) -> int:
    """Return the tokens that a policy wrote in an episode; where its own are not known, an estimate from bytes."""
    return sum(len(turn.tokens.ids) if turn.tokens else _LIMITS.count_tokens(turn.action) for turn in trajectory.turns)


def context_tokens(trajectory: Trajectory) -> int:
    """Return the tokens of a whole conversation, images included, about."""
    return _LIMITS.tokens(trajectory)


def _values(field: Any) -> tuple[str, ...]:
    """Return the categories that a field of a sample's metadata names: none, one, or each item of a list."""
    items = field if isinstance(field, list | tuple) else [field]
    named = ({True: "yes", False: "no"}[item] if isinstance(item, bool) else str(item) for item in items)
    return tuple(dict.fromkeys(name for item, name in zip(items, named, strict=True) if item not in (None, "")))


def _box_iou(run: Run, trajectory: Trajectory, score: Score) -> float | None:
    if run.benchmark.metric != "box" or score.error:
        return None
    return BoxJudge.of(trajectory).iou(score.prediction or "", trajectory.sample)


def _row(run: Run, trajectory: Trajectory, scores: Mapping[int, Score]) -> Row:
    number, sample = number_of(trajectory), trajectory.sample
    score = scores.get(number, Score(number, error="not judged yet"))
    counted = all(turn.tokens is not None for turn in trajectory.turns)
    fields = run.benchmark.categories
    return Row(
        episode=number,
        condition=run.plan.condition_of(number),
        sample=run.plan.sample_of(number),
        sample_id=sample.id,
        question=str(sample.metadata.get(GROUP, sample.id)) if run.benchmark.grouped else sample.id,
        repeat=run.plan.repeat_of(number),
        orders=max(1, len(sample.options)),
        categories={name: values for name in fields if (values := _values(sample.metadata.get(name)))},
        truth=sample.answer,
        score=None if score.error else score.value,
        answer=score.prediction,
        vote=None if score.prediction is None else vote(score.prediction, sample),
        reason=score.error or score.reason,
        box_iou=_box_iou(run, trajectory, score),
        iou=trajectory.best_iou,
        calls=len(trajectory.results),
        used_tool=trajectory.used_tool,
        zoomed=bool(trajectory.looks),
        failed=tuple(result.status for result in trajectory.results if not result.ok),
        turns=len(trajectory.turns),
        written=written_tokens(trajectory),
        counted=counted,
        context=context_tokens(trajectory),
        seconds=float(trajectory.metadata.get(SECONDS, 0.0)),
        stop=trajectory.stop_reason,
        finishes=tuple(turn.finish_reason for turn in trajectory.turns if turn.finish_reason),
        outcomes=outcomes_of(trajectory),
        unknown_tools=unknown_tools_of(trajectory),
    )
