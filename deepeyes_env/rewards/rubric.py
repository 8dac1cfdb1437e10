"""Rubric: weighted terms that make a reward of a trajectory."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from deepeyes_env.call_effects import call_effects_of, with_call_effects
from deepeyes_env.core import RewardTerm, Trajectory
from deepeyes_env.errors import JudgeError, UsageError
from deepeyes_env.judges import MAX_ANSWER_LENGTH, Judge, RuleJudge
from deepeyes_env.rewards.answers import AnswerRule, given_answer
from deepeyes_env.rewards.evidence import Evidence

_RULES = RuleJudge()


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a rubric.

    Attributes:
        name: Names the term in ``info["reward_terms"]``, records and tables; unique within a rubric.
        function: Returns the raw value, a finite number.
        weight: Factor of the raw value in the reward.

    Raises:
        UsageError: The name is empty, or the weight is not finite.
    """

    name: str
    function: Callable[[Evidence], float]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("Term: the name is empty; name the term as it shall appear in tables")
        if not math.isfinite(self.weight):
            raise UsageError(f"Term({self.name!r}): weight {self.weight!r} is not finite")

    def __call__(self, evidence: Evidence) -> RewardTerm:
        """Evaluate the term.

        Raises:
            UsageError: The function returned no finite number.
        """
        raw = float(self.function(evidence))
        if not math.isfinite(raw):
            raise UsageError(f"term {self.name!r} returned {raw} for sample {evidence.sample.id!r}; must be finite")
        return RewardTerm(raw, self.weight)


class ScoringError(JudgeError):
    """Some trajectories of a batch could not be judged; the others were.

    To go on once the judge is back: ``retried = rubric.score_all([error.trajectories[i] for i in error.failed])``.

    Attributes:
        trajectories: The whole batch in order, scored except for those that failed.
        failed: What went wrong, by index.
    """

    def __init__(self, trajectories: Sequence[Trajectory], failed: Mapping[int, JudgeError]) -> None:
        self.trajectories = list(trajectories)
        self.failed = dict(failed)
        shown = [f"{i} (sample {trajectories[i].sample.id!r}): {error}" for i, error in list(failed.items())[:5]]
        more = [f"and {len(failed) - len(shown)} more"] if len(failed) > len(shown) else []
        super().__init__(
            f"{len(failed)} of {len(trajectories)} trajectories could not be judged; " + "; ".join(shown + more)
        )


class BaseRubric(ABC):
    """Something that scores trajectories: a ``Rubric``, or a choice between several."""

    @abstractmethod
    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with its reward, its reward terms, and the judge's verdict in ``correct``.

        Raises:
            JudgeError: The judge could not be reached or understood.
        """

    @abstractmethod
    def with_judge(self, judge: Judge) -> BaseRubric:
        """Return the same rubric with another judge."""

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms that a scored trajectory may have; none are known of a rubric that does not say."""
        return ()

    def score(self, trajectory: Trajectory, judge: Judge = _RULES) -> Trajectory:
        """Return the trajectory scored and judged, also by a rubric of one's own that asks no judge.

        Args:
            trajectory: A finished episode.
            judge: Gives the verdict where the rubric leaves ``correct`` open, on what the environment took as the
                answer.

        Raises:
            JudgeError: The judge could not be reached or understood.
        """
        scored = self(trajectory)
        if scored.correct is not None:
            return scored
        return replace(scored, correct=Evidence(trajectory, given_answer, judge).correct)

    def score_all(
        self, trajectories: Iterable[Trajectory], max_workers: int = 16, *, judge: Judge = _RULES
    ) -> list[Trajectory]:
        """Score many trajectories in threads, in order.

        Args:
            trajectories: Finished episodes.
            max_workers: How many are judged at once; a judge behind a network wants more, rules gain nothing by any.
            judge: As for ``score``.

        Raises:
            ScoringError: The judge failed on some; raised when all others are scored, and holds them.
        """

        def attempt(trajectory: Trajectory) -> Trajectory | JudgeError:
            try:
                return self.score(trajectory, judge)
            except JudgeError as error:
                return error

        batch = list(trajectories)
        with ThreadPoolExecutor(max_workers, thread_name_prefix="score") as pool:
            outcomes = list(pool.map(attempt, batch))
        scored = [given if isinstance(done, JudgeError) else done for given, done in zip(batch, outcomes, strict=True)]
        failed = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, JudgeError)}
        if failed:
            raise ScoringError(scored, failed)
        return scored

    async def ascore_all(
        self, trajectories: Iterable[Trajectory], max_workers: int = 16, *, judge: Judge = _RULES
    ) -> list[Trajectory]:
        """Do ``score_all`` without blocking the event loop."""
        return await asyncio.to_thread(self.score_all, trajectories, max_workers, judge=judge)


@dataclass(frozen=True)
class Rubric(BaseRubric):
    """Weighted terms; the reward is their sum.

    ``Rubric([Term("acc", lambda e: e.correct), Term("brief", lambda e: len(e.trajectory.turns) < 3, weight=0.1)])``

    Attributes:
        terms: The terms; each trajectory gets all of them, zeros included.
        answer_rule: Finds the answer; see ``deepeyes_env.rewards.answers``.
        judge: Says whether it is right.
        max_answer_length: An answer of so many characters or more scores 0 and is a format error; ``None``: no limit.

    Raises:
        UsageError: There are no terms, or two have the same name.
    """

    terms: Sequence[Term]
    answer_rule: AnswerRule = given_answer
    judge: Judge = _RULES
    max_answer_length: int | None = MAX_ANSWER_LENGTH

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        names = [term.name for term in self.terms]
        if not names or len(set(names)) < len(names):
            raise UsageError(f"Rubric: needs terms with names of their own, got {names}")

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory with its reward, its reward terms and the verdict, which is asked for in any case."""
        evidence = Evidence(trajectory, self.answer_rule, self.judge, self.max_answer_length)
        return trajectory.scored({term.name: term(evidence) for term in self.terms}, evidence.correct)

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms, in order."""
        return tuple(term.name for term in self.terms)

    def with_judge(self, judge: Judge) -> Rubric:
        """Return the same rubric with another judge."""
        return replace(self, judge=judge)


@dataclass(frozen=True, eq=False)
class EffectsLater(BaseRubric):
    """A rubric for episodes whose calls nobody has played on from yet: what calls were worth counts as nothing.

    Environments score by it where a trainer plays on from some of the episodes afterwards, and scores those again.

    Attributes:
        rubric: The rubric itself.
    """

    rubric: BaseRubric

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory scored; one without effects says from now on that none were played on purpose."""
        played = call_effects_of(trajectory) is not None
        return self.rubric(trajectory if played else with_call_effects(trajectory, ()))

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the rubric's terms."""
        return self.rubric.term_names

    def with_judge(self, judge: Judge) -> EffectsLater:
        """Return the same with another judge."""
        return EffectsLater(self.rubric.with_judge(judge))


@dataclass(frozen=True, eq=False)
class RoutedRubric(BaseRubric):
    """One rubric per kind of data, chosen by ``sample.data_source``.

    Attributes:
        routes: Rubrics by data source.
        default: The rubric of all other data sources.
    """

    routes: Mapping[str, BaseRubric]
    default: BaseRubric

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        """Return the trajectory scored by the rubric of its data source."""
        return self.routes.get(trajectory.sample.data_source, self.default)(trajectory)

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of all rubrics' terms, in order."""
        rubrics = (self.default, *self.routes.values())
        return tuple(dict.fromkeys(name for rubric in rubrics for name in rubric.term_names))

    def with_judge(self, judge: Judge) -> RoutedRubric:
        """Return the same rubrics with another judge, for every data source."""
        routes = {source: rubric.with_judge(judge) for source, rubric in self.routes.items()}
        return RoutedRubric(routes, self.default.with_judge(judge))
