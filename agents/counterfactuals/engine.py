"""The engine: episodes are played, judged and recorded as they end; nothing is asked twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deepeyes_env.agents.agent import Agent, about_of, name_of
from deepeyes_env.agents.counterfactuals.answers import AnswerFile, remembering
from deepeyes_env.agents.counterfactuals.cost import Cost, cost_of
from deepeyes_env.agents.counterfactuals.outcomes import Outcome, last_outcomes
from deepeyes_env.agents.counterfactuals.plan import CONDITIONS, Asked, ConditionPlan
from deepeyes_env.agents.counterfactuals.samples import InConditions
from deepeyes_env.agents.evaluation.evaluate import known_frame, play_episodes, written_view
from deepeyes_env.agents.evaluation.scoring import Scoring, judge
from deepeyes_env.agents.play import Episode, Failure
from deepeyes_env.agents.play_async import env_maker
from deepeyes_env.agents.progress import progress_bar
from deepeyes_env.agents.run_folder import ANSWERS, OUTCOMES, IfExists, RunFolder, number_of, numbers_in
from deepeyes_env.core import Trajectory
from deepeyes_env.data import Dataset
from deepeyes_env.envs.limits import resolve_view
from deepeyes_env.envs.prompt_files import recordable
from deepeyes_env.json_lines import JSONLinesFile
from deepeyes_env.trajectories import TrajectoryWriter

T = TypeVar("T")
R = TypeVar("R")


def run_conditions(
    dataset: Dataset,
    agent: Agent,
    scoring: Scoring,
    *,
    out: str | Path,
    conditions: Sequence[str] = CONDITIONS,
    k: int = 8,
    limit: int | None = None,
    chosen: Sequence[int] | None = None,
    seed: int = 0,
    env: str = "VisualToolbox-v2",
    num_envs: int = 8,
    if_exists: IfExists = "error",
    keep_episodes: bool = True,
    settings: Mapping[str, Any] | None = None,
    tell_cost: Callable[[Cost], object] | None = None,
    progress: bool = True,
    **env_kwargs: Any,
) -> Iterator[Outcome]:
    """Ask every sample k times under each condition; give the outcome of every episode of the plan.

    Those that are in the folder already come first, the others as they are judged. Each is on disk before it is given.
    A run that was stopped, in whatever way, is resumed by ``if_exists="resume"``: what has a verdict is not asked
    again, what the policy said in an episode that was cut short is recalled, and more samples, repeats or conditions
    may be added. What failed is tried again. Nothing is played that is not asked for: close the generator to stop.

    Args:
        dataset: The samples.
        agent: Who is asked. An ``AsyncAgent`` has ``agent.concurrency`` episodes going at once.
        scoring: Who judges.
        out: Folder for everything: ``outcomes.jsonl``, ``answers.jsonl``, and a run folder's files.
        conditions: See ``plan.Condition``.
        k: How often each sample is asked under each condition.
        limit: Ask the first N samples only.
        chosen: Ask only the samples of these indices.
        seed: Decides the order of options and the agent's draws.
        env: Environment id: tools and protocol.
        num_envs: How many episodes run at once with an agent that is not asynchronous.
        if_exists: What to do about an ``out`` that holds a run.
        keep_episodes: Record each episode with its images too, for a page that shows them.
        settings: What else tells this run from others; JSON-able.
        tell_cost: Called with what the run will cost, before anything is asked.
        progress: Show a progress bar where standard error is a terminal.
        **env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``.

    Raises:
        UsageError: An argument is wrong, or a run is resumed with other settings.
        FileExistsError: ``out`` holds a run, or something else; see ``if_exists``.
    """
    plan = ConditionPlan(len(dataset), tuple(conditions), k, limit, chosen, seed)
    env_kwargs = recordable({**known_frame(agent), **env_kwargs})
    identity = {
        "policy": name_of(agent),
        "env": env,
        **{name: env_kwargs[name] for name in sorted(env_kwargs)},
        **scoring.description,
        "seed": seed,
        "samples": len(dataset),
        **(settings or {}),
    }
    about = {**about_of(agent), "view": written_view(resolve_view(env_kwargs.get("view", "auto"), dataset))}
    folder = RunFolder.prepare(out, identity, if_exists, judged_in, about)
    kwargs = {"dataset": InConditions(dataset), **env_kwargs}
    title = f"{name_of(agent)} under {', '.join(conditions)}"
    return run_plan(
        plan,
        folder,
        agent,
        scoring,
        env,
        kwargs,
        title,
        num_envs=num_envs,
        keep=keep_episodes,
        tell_cost=tell_cost,
        progress=progress,
    )


class Plan(Protocol):
    """Which episodes are asked, and how they are numbered."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Asked]: ...

    def number(self, asked: Asked) -> int:
        """Return the number of an episode."""
        ...

    def asked(self, number: int) -> Asked:
        """Return what the episode of a number asks."""
        ...

    def episodes(self, asked: Sequence[Asked], /) -> Iterator[Episode]:
        """Give episodes to be played, in the order given."""
        ...


def run_plan(
    plan: Plan,
    folder: RunFolder,
    agent: Agent,
    scoring: Scoring,
    env: str,
    kwargs: Mapping[str, Any],
    title: str,
    *,
    num_envs: int = 8,
    keep: bool = True,
    tell_cost: Callable[[Cost], object] | None = None,
    progress: bool = True,
) -> Iterator[Outcome]:
    """Play what a folder lacks of a plan; give the outcome of every episode of it.

    Args:
        plan: What is asked.
        folder: Where it is recorded, made ready.
        agent: Who is asked.
        scoring: Who judges.
        env: Environment id.
        kwargs: Arguments of the environments.
        title: What a progress bar says.
        num_envs: How many episodes run at once with an agent that is not asynchronous.
        keep: Record each episode with its images too.
        tell_cost: Called with what the run will cost, before anything is asked.
        progress: Show a progress bar where standard error is a terminal.
    """
    earlier = last_outcomes(folder.path) if folder.finished else {}
    lacking = [asked for asked in plan if plan.number(asked) not in folder.finished]
    if tell_cost:
        tell_cost(cost_of(plan, lacking, earlier.values(), env_maker(env, **{**kwargs, "rubric": None})))
    for asked in plan:
        if plan.number(asked) in folder.finished:
            yield earlier[plan.number(asked)]
    del earlier
    with ExitStack() as stack:
        answers = stack.enter_context(closing(AnswerFile(folder.path / ANSWERS)))
        recorder = _Recorder(folder.path, stack, keep=keep)
        tell = stack.enter_context(progress_bar(title, len(plan), len(plan) - len(lacking), shown=progress))
        player, at_once = remembering(agent, answers), min(num_envs, len(lacking))
        episodes = play_episodes(env, player, plan.episodes(lacking), at_once, {**kwargs, "rubric": None})
        played = stack.enter_context(closing(episodes))
        ended = _in_threads(lambda end: _outcome(plan, end, scoring), played, scoring.workers)
        judged = stack.enter_context(closing(ended))
        right = count = failed = 0
        for outcome, end in judged:
            recorder.write(outcome, end)
            right, count = right + bool(outcome.right), count + (outcome.score is not None)
            failed += bool(outcome.error)
            tell(f"accuracy {right / max(count, 1):.3f}{f', {failed} failed' if failed else ''}")
            yield outcome


def judged_in(folder: Path) -> frozenset[int]:
    """Return the numbers of the episodes in a folder that have a verdict."""
    return frozenset(number for number, outcome in last_outcomes(folder).items() if not outcome.error)


def _outcome(plan: Plan, end: Trajectory | Failure, scoring: Scoring) -> tuple[Outcome, Trajectory | Failure]:
    if isinstance(end, Failure):
        return Outcome.of(plan.asked(end.episode.number), end), end
    score = judge(end, scoring.judge, scoring.rubric)
    return Outcome.of(plan.asked(number_of(end)), end, score), end


def _in_threads(function: Callable[[T], R], values: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Give the results of a function in the order of its values, some of them being worked on at once."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="judge") as pool:
        try:
            for value in values:
                waiting.append(pool.submit(function, value))
                while waiting and (waiting[0].done() or len(waiting) > 2 * workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Recorder:
    """Puts each episode on disk: its trajectory, where those are kept, then its outcome."""

    def __init__(self, folder: Path, stack: ExitStack, *, keep: bool) -> None:
        self._keep = keep
        self._trajectories = stack.enter_context(TrajectoryWriter(folder))  # also where none is kept: it locks
        self._kept = set(numbers_in(folder)) if keep else set()
        self._outcomes = stack.enter_context(JSONLinesFile(folder / OUTCOMES))

    def write(self, outcome: Outcome, end: Trajectory | Failure) -> None:
        """Record an episode."""
        if self._keep and isinstance(end, Trajectory) and outcome.episode not in self._kept:
            self._kept.add(outcome.episode)
            self._trajectories.write(replace(end, metadata={**end.metadata, "condition": outcome.condition}))
        self._outcomes.append(outcome.as_line())
