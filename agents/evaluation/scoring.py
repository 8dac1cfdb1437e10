"""Judging apart from playing: while a run goes on, after it, or again with another judge or rubric."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from deepeyes_env.agents.evaluation.effects import read_effects, with_effects
from deepeyes_env.agents.evaluation.score_file import Score, ScoreFile
from deepeyes_env.agents.progress import progress_bar
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import JudgeError
from deepeyes_env.judges import Judge, Verdict
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.rewards import BaseRubric, Rubric, RubricLike, Term, get_rubric, terms
from deepeyes_env.trajectories import read_trajectories

ACCURACY = "accuracy"
"""The rubric of evaluations: is the answer right, and nothing else."""


@dataclass(frozen=True)
class Scoring:
    """Who judges a run, and by which formula.

    Attributes:
        judge: Says whether an answer is right.
        judge_name: What reports call it; a run judged under one name is judged again under another.
        rubric: Finds the answer and weighs it: a preset's name, a rubric, or ``ACCURACY``.
        workers: How many answers are judged at once.

    Raises:
        UnknownNameError: No rubric has that name.
    """

    judge: Judge
    judge_name: str
    rubric: RubricLike = ACCURACY
    workers: int = 16

    def __post_init__(self) -> None:
        _rubric(self.rubric)

    @property
    def description(self) -> dict[str, Any]:
        """What tells this scoring from others; JSON-able."""
        rubric = self.rubric if isinstance(self.rubric, str) else type(self.rubric).__name__
        return {"judge": self.judge_name, "rubric": rubric}


class Scorer:
    """Judges episodes in threads and appends what was said to ``scores.jsonl``; nothing is judged twice.

    Attributes:
        errors: Why there is no verdict on an episode, by number.

    Args:
        folder: The run folder.
        scoring: Who judges.
        tried: Episodes to leave alone.
        tell: Called after each verdict, from any thread.
    """

    def __init__(
        self,
        folder: Path,
        scoring: Scoring,
        tried: Iterable[int] = (),
        tell: Callable[[str], None] = lambda state: None,
    ) -> None:
        self.errors: dict[int, str] = {}
        self._right, self._judged = 0.0, 0
        self._scoring = scoring
        self._tell = tell
        self._rubric = _rubric(scoring.rubric)
        self._file = ScoreFile(folder, scoring.description)
        self._taken = {*self._file.done, *tried}
        self._pool = ThreadPoolExecutor(scoring.workers, thread_name_prefix="judge")
        self._slots = threading.Semaphore(2 * scoring.workers)
        self._lock = threading.Lock()
        self._broken: BaseException | None = None

    @property
    def tried(self) -> frozenset[int]:
        """Episodes that have a verdict or were tried."""
        return frozenset(self._taken)

    @property
    def state(self) -> str:
        """The accuracy so far, and how many verdicts could not be had."""
        parts = [f"accuracy {self._right / self._judged:.3f}"] if self._judged else []
        return ", ".join([*parts, *([f"{len(self.errors)} not judged"] if self.errors else [])])

    def offer(self, trajectory: Trajectory) -> None:
        """Judge an episode if there is room; otherwise it is left for ``score_all``."""
        if self._slots.acquire(blocking=False):
            self._submit(trajectory)

    def score_all(self, trajectories: Iterable[Trajectory]) -> None:
        """Judge all episodes that have no verdict and were not tried."""
        for trajectory in trajectories:
            if number_of(trajectory) not in self._taken:
                self._slots.acquire()
                self._submit(trajectory)

    def _submit(self, trajectory: Trajectory) -> None:
        if self._broken:
            self._slots.release()
            raise self._broken
        self._taken.add(number_of(trajectory))
        self._pool.submit(self._score, trajectory)

    def _score(self, trajectory: Trajectory) -> None:
        try:
            score = judge(trajectory, self._scoring.judge, self._rubric)
            self._file.write(score)
            with self._lock:
                if score.error:
                    self.errors[score.episode] = score.error
                else:
                    self._judged += 1
                    self._right += score.value or 0.0
                self._tell(self.state)
        except BaseException as error:
            self._broken = error
        finally:
            self._slots.release()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        self._file.close()
        if kind is None and self._broken:
            raise self._broken


def score_run(folder: Path, scoring: Scoring, *, tried: Iterable[int] = (), progress: bool = True) -> dict[int, str]:
    """Judge every recorded episode of a run that this judge gave no verdict on; returns its errors by episode.

    Args:
        folder: The run folder.
        scoring: Who judges.
        tried: Episodes to leave alone.
        progress: Show a progress bar where standard error is a terminal.
    """
    tried = frozenset(tried)
    done = tried | ScoreFile.done_by(folder, scoring.description)
    todo = sum(number_of(trajectory) not in done for trajectory in read_trajectories(folder))
    title = f"judging by {scoring.judge_name}"
    with progress_bar(title, todo, shown=progress and todo > 0) as tell, Scorer(folder, scoring, tried, tell) as scorer:
        if todo:
            effects = read_effects(folder)
            scorer.score_all(with_effects(each, effects) for each in read_trajectories(folder))
    return scorer.errors


def judge(trajectory: Trajectory, judge: Judge, rubric: RubricLike = ACCURACY) -> Score:
    """Judge one finished episode.

    A judge that cannot be reached or understood gives a score without a value, and its error.
    """
    if isinstance(judge, BoxJudge):  # a box means other pixels on another view
        judge = BoxJudge.of(trajectory, judge.threshold)
    recorder = _RecordingJudge(judge)
    number = number_of(trajectory)
    try:
        scored = _rubric(rubric).with_judge(recorder).score(replace(trajectory, correct=None), recorder)
    except JudgeError as error:
        return Score(number, prediction=recorder.prediction, error=str(error))
    said = recorder.verdict
    if said is None:
        reason = f"no answer ({trajectory.stop_reason})"
        return Score(number, 0.0, reason=reason, terms=dict(scored.reward_terms))
    return Score(number, said.score, recorder.prediction, said.judge, said.reason, dict(scored.reward_terms))


def with_score(trajectory: Trajectory, score: Score | None) -> Trajectory:
    """Return a recorded episode with the judge's verdict as its reward."""
    return trajectory if score is None or score.error else trajectory.scored(score.terms, score.value)


class _RecordingJudge:
    """Remembers what a judge was asked about one episode, and what it said."""

    def __init__(self, judge: Judge) -> None:
        self.prediction: str | None = None
        self.verdict: Verdict | None = None
        self._judge = judge

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        self.prediction = prediction
        self.verdict = self._judge(prediction, sample)
        return self.verdict

    def __repr__(self) -> str:
        return repr(self._judge)


_ACCURACY = Rubric([Term("acc", terms.accuracy), Term("format", terms.format_broken, 0.0)])


def _rubric(rubric: RubricLike) -> BaseRubric:
    return _ACCURACY if rubric == ACCURACY else get_rubric(rubric)
