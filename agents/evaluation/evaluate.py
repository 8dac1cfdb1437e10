"""evaluate: a policy answers a benchmark, and what it did is recorded, judged and reported."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.agent import Agent, AsyncAgent, about_of, name_of
from deepeyes_env.agents.evaluation import run as runs
from deepeyes_env.agents.evaluation.clock import TimedAgent, timed
from deepeyes_env.agents.evaluation.metrics import Report
from deepeyes_env.agents.evaluation.plan import Plan, Tools, WithAndWithoutTools
from deepeyes_env.agents.evaluation.report import write_report
from deepeyes_env.agents.evaluation.scoring import Scorer, Scoring, score_run
from deepeyes_env.agents.families import frame_of
from deepeyes_env.agents.play import Episode, Failure, play
from deepeyes_env.agents.play_async import env_maker, play_async
from deepeyes_env.agents.progress import progress_bar
from deepeyes_env.agents.run_folder import IfExists, RunFolder
from deepeyes_env.core import Trajectory
from deepeyes_env.data import Dataset
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.envs.limits import resolve_view
from deepeyes_env.envs.prompt_files import recordable
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.errors import UsageError
from deepeyes_env.images import ViewBudget
from deepeyes_env.images.frames import Frame
from deepeyes_env.trajectories import TrajectoryWriter


def evaluate(
    benchmark: Benchmark,
    dataset: Dataset,
    agent: Agent,
    scoring: Scoring,
    *,
    out: str | Path,
    tools: Tools = "on",
    repeats: int = 1,
    limit: int | None = None,
    seed: int = 0,
    env: str = "VisualToolbox-v2",
    num_envs: int = 8,
    if_exists: IfExists = "error",
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    **env_kwargs: Any,
) -> Report:
    """Let a policy answer a benchmark; record, judge and report it.

    Each episode is on disk as soon as it ends. A run that was stopped, in whatever way, is resumed by
    ``if_exists="resume"``: episodes on disk are not asked again, those that failed are, and more samples, more repeats
    or the other condition may be added.

    Args:
        benchmark: What is asked.
        dataset: Its samples.
        agent: Who is asked. An ``AsyncAgent`` has ``agent.concurrency`` episodes going at once.
        scoring: Who judges.
        out: Folder for everything.
        tools: With tools, without, or both.
        repeats: How often each sample is asked.
        limit: Ask the first N samples only.
        seed: Decides the order of options and the agent's draws; the same for every policy.
        env: Environment id: tools and protocol.
        num_envs: How many episodes run at once with an agent that is not asynchronous.
        if_exists: What to do about an ``out`` that holds an evaluation.
        settings: What else tells this evaluation from others; JSON-able. Recorded, and must be the same to resume.
        progress: Show a progress bar where standard error is a terminal.
        **env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``, such as ``view`` and ``max_turns``. By
            default ``frame`` is that of the agent, or of its model's family, where its name tells it.

    Raises:
        UsageError: An argument is wrong, or a run is resumed with other settings or other samples.
        FileExistsError: ``out`` holds a run, or something else; see ``if_exists``.
    """
    _check_tools(benchmark, env)
    env_kwargs = recordable({**known_frame(agent), **env_kwargs})
    plan = Plan(len(dataset), tools, repeats, limit, seed)
    identity = {
        "benchmark": asdict(benchmark),
        "policy": name_of(agent),
        "env": env,
        **{name: env_kwargs[name] for name in sorted(env_kwargs)},
        **(settings or {}),
    }
    about = {**about_of(agent), "view": written_view(resolve_view(env_kwargs.get("view", "auto"), dataset))}
    folder = runs.begin(Path(out), identity, plan, dataset, if_exists, about)
    todo = [episode for episode in plan if episode.number not in folder.finished]
    clock = timed(agent)
    kwargs = {"dataset": WithAndWithoutTools(dataset), "rubric": None, **env_kwargs}
    with ExitStack() as stack:
        writer = stack.enter_context(TrajectoryWriter(folder.path))
        scorer = stack.enter_context(Scorer(folder.path, scoring))
        bar = progress_bar(f"{name_of(agent)} on {benchmark.title}", len(plan), len(plan) - len(todo), shown=progress)
        tell = stack.enter_context(bar)
        ended = stack.enter_context(closing(play_episodes(env, clock, todo, min(num_envs, len(todo)), kwargs)))
        failed = 0
        for end in ended:
            failed += not _kept(end, clock, folder, writer, scorer)
            tell(f"{scorer.state}{f', {failed} failed' if failed else ''}")
    score_run(folder.path, scoring, tried=scorer.tried, progress=progress)
    return write_report(folder.path)


def rescore(folder: str | Path, scoring: Scoring, *, progress: bool = True) -> Report:
    """Judge a recorded evaluation again, without asking the policy, and report it anew.

    Raises:
        DataError: The folder holds no evaluation.
    """
    path = runs.open_run(folder).folder
    score_run(path, scoring, progress=progress)
    return write_report(path)


def _check_tools(benchmark: Benchmark, env: str) -> None:
    offered = get_toolbox(env).known_tools()
    missing = [name for name in benchmark.tools if name not in offered]
    if missing:
        raise UsageError(
            f"env={env!r}: {benchmark.title} needs {', '.join(missing)}, and it offers {', '.join(sorted(offered))}; "
            "use VisualToolbox-v2"
        )


def written_view(view: ViewBudget | None) -> str:
    """Write at which size images are shown."""
    return "native pixels" if view is None else f"{view.min_pixels} to {view.max_pixels} pixels"


def known_frame(agent: Agent) -> dict[str, Frame]:
    """Return the coordinates in which a policy writes boxes, where the agent or its name tells."""
    try:
        return {"frame": frame_of(name_of(agent), getattr(agent, "frame", None))}
    except ValueError:
        return {}


def play_episodes(
    env: str, agent: Agent, todo: Iterable[Episode], num_envs: int, kwargs: Mapping[str, Any]
) -> Generator[Trajectory | Failure, None, None]:
    """Play episodes and give each one as it ends: side by side, or each at its own pace with an ``AsyncAgent``.

    Args:
        env: Environment id.
        agent: Who plays.
        todo: What is played.
        num_envs: How many episodes run at once with an agent that is not asynchronous; 0 where there are none to play.
        kwargs: Arguments of the environments.
    """
    if num_envs < 1:
        return
    if isinstance(agent, AsyncAgent):
        with closing(play_async(env_maker(env, **kwargs), agent, todo, {"env": env})) as ended:
            yield from ended
        return
    vector: Any = gym.make_vec(env, num_envs=num_envs, autoreset_mode=AutoresetMode.DISABLED, **kwargs)
    with closing(vector):
        yield from play(vector, agent, todo, {"env": env})


def _kept(
    end: Trajectory | Failure, clock: TimedAgent, folder: RunFolder, writer: TrajectoryWriter, scorer: Scorer
) -> bool:
    """Put an episode on disk and before the judge, or on the list of failures; returns whether it was played."""
    if isinstance(end, Failure):
        clock.forget(end.episode.number)
        folder.record_failure(end)
        return False
    trajectory = clock.stamped(end)
    writer.write(trajectory)
    scorer.offer(trajectory)
    return True
