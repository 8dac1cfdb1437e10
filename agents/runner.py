"""rollout: play many episodes, record them, and say how it went."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.agent import Agent, AsyncAgent, about_of, name_of
from deepeyes_env.agents.play import Episode, Failure, play
from deepeyes_env.agents.play_async import env_maker, play_async
from deepeyes_env.agents.progress import RunningResult, progress_bar
from deepeyes_env.agents.registry import make_agent
from deepeyes_env.agents.run_folder import IfExists, RunFolder, number_of
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.prompt_files import recordable
from deepeyes_env.envs.toolbox import check_is_ours
from deepeyes_env.envs.vector import BatchedVectorEnv, make_vector_env
from deepeyes_env.envs.vector.backends import THREADS
from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.seeds import check_seed
from deepeyes_env.trajectories import Summary, TrajectoryWriter, read_trajectories, summarise


@dataclass(frozen=True)
class Rollout:
    """What came of a run.

    Attributes:
        summary: The run in a dozen numbers, over all finished episodes (a resumed run's earlier ones included).
        failures: Episodes that the environment could not play to their end.
        folder: Where the run is recorded; ``None`` if it is not.
        kept: The trajectories of a run that is not recorded, in the order of episodes.
    """

    summary: Summary
    failures: tuple[Failure, ...] = ()
    folder: Path | None = None
    kept: tuple[Trajectory, ...] = field(default=(), repr=False)

    @property
    def trajectories(self) -> tuple[Trajectory, ...]:
        """The finished episodes in order; read anew from the run folder if the run is recorded."""
        return self.kept if self.folder is None else _sorted(read_trajectories(self.folder))


def rollout(
    env: str | BatchedVectorEnv,
    agent: str | Agent,
    *,
    episodes: int,
    seed: int = 0,
    in_order: bool = False,
    num_envs: int = 8,
    backend: str = THREADS,
    out: str | Path | None = None,
    if_exists: IfExists = "error",
    progress: bool = True,
    **env_kwargs: Any,
) -> Rollout:
    """Let an agent play episodes.

    Episode ``e`` is played with seed ``seed + e``, whatever ``num_envs`` is. An environment that fails costs its
    episode only: it is logged and listed among the failures. An ``AsyncAgent`` that is given the id
    of an environment plays ``agent.concurrency`` episodes at once, each at its own pace; there too an agent that fails
    costs the episode.

    Args:
        env: Environment id, or a vector environment with ``AutoresetMode.DISABLED``, which stays open.
        agent: An agent, or the name of one, made with ``seed``.
        episodes: How many episodes.
        seed: Seed of episode 0.
        in_order: Episode ``e`` plays sample ``e`` of the data set (beginning again at its end), instead of the one that
            its seed draws.
        num_envs: How many environments to make, but for an ``AsyncAgent`` without another ``backend``.
        backend: Where they live: one of ``deepeyes_env.envs.vector.BACKENDS``.
        out: Run folder to record trajectories in as they end: then only the running ones are held in memory.
        if_exists: What to do about an ``out`` that holds a run.
        progress: Show a progress bar where standard error is a terminal.
        **env_kwargs: Arguments of ``deepeyes_env.VisualToolboxEnv``.

    Raises:
        UsageError: An argument is wrong; the message names it and the remedy.
        FileExistsError: ``out`` holds a run, or something else; see ``if_exists``.
    """
    if episodes < 1:
        raise UsageError(f"episodes={episodes}: must be at least 1")
    check_seed(seed)
    env_kwargs = recordable(env_kwargs)
    player = _agent(agent, seed, env_kwargs) if isinstance(agent, str) else agent
    with ExitStack() as stack:
        if isinstance(env, str) and isinstance(player, AsyncAgent) and backend == THREADS:
            runner = _async_runner(env, player, env_kwargs)
        else:
            vector = stack.enter_context(_opened(env, min(num_envs, episodes), backend, env_kwargs))
            runner = _vector_runner(env, vector, player)
        settings = {"env": runner.name, "agent": name_of(player), "seed": seed, "in_order": in_order, **env_kwargs}
        folder = None if out is None else RunFolder.prepare(out, settings, if_exists, about=about_of(player))
        done = folder.finished if folder else frozenset()
        planned = _plan(episodes, seed, runner.samples() if in_order else None)
        plan = [episode for episode in planned if episode.number not in done]
        bar = progress_bar(f"{name_of(player)} on {runner.name}", episodes, episodes - len(plan), shown=progress)
        tell = stack.enter_context(bar)
        played = stack.enter_context(closing(runner.play(plan)))
        ended = _counted(played, tell)
        return _recorded(ended, folder) if folder else _kept(ended)


@dataclass(frozen=True)
class _EpisodeRunner:
    """What plays the episodes of a run.

    Attributes:
        name: Environment id.
        samples: Says how many samples the data set has.
        play: Plays episodes.
    """

    name: str
    samples: Callable[[], int]
    play: Callable[[Iterable[Episode]], Generator[Trajectory | Failure, None, None]]


def _async_runner(env: str, player: AsyncAgent, env_kwargs: Mapping[str, Any]) -> _EpisodeRunner:
    make_env = env_maker(env, **env_kwargs)

    def samples() -> int:
        return len(make_env().dataset)

    return _EpisodeRunner(env, samples, lambda plan: play_async(make_env, player, plan, {"env": env}))


def _vector_runner(env: str | BatchedVectorEnv, vector: BatchedVectorEnv, player: Agent) -> _EpisodeRunner:
    name = env if isinstance(env, str) else vector.spec.id if vector.spec else type(vector).__name__

    def samples() -> int:
        return len(vector.call("dataset")[0])

    return _EpisodeRunner(name, samples, lambda plan: (end for end in play(vector, player, plan, {"env": name})))


def _agent(name: str, seed: int, env_kwargs: Mapping[str, Any]) -> Agent:
    limit = {"max_turns": env_kwargs["max_turns"]} if "max_turns" in env_kwargs else {}
    return make_agent(name, seed=seed, **limit)


@contextmanager
def _opened(
    env: str | BatchedVectorEnv, num_envs: int, backend: str, env_kwargs: Mapping[str, Any]
) -> Iterator[BatchedVectorEnv]:
    """Make a vector environment and close it afterwards; one that was given stays open."""
    if not isinstance(env, str):
        if env_kwargs or backend != THREADS:
            raise UsageTypeError(
                f"env is made already, so {', '.join(env_kwargs) or 'backend'} has no effect; give an id"
            )
        yield env
        return
    check_is_ours(env)
    vector = make_vector_env(backend, env, num_envs, autoreset_mode=AutoresetMode.DISABLED, **env_kwargs)
    try:
        yield vector
    finally:
        vector.close()


def _plan(episodes: int, seed: int, samples: int | None) -> Iterator[Episode]:
    """Number the episodes; ``samples``: how many there are to be played in order, ``None`` to let seeds draw them."""
    for number in range(episodes):
        yield Episode(number, seed + number, number % samples if samples else None)


def _counted(ended: Iterable[Trajectory | Failure], tell: Callable[[str], None]) -> Iterator[Trajectory | Failure]:
    result = RunningResult()
    for end in ended:
        result.add(None if isinstance(end, Failure) else end)
        tell(str(result))
        yield end


def _kept(ended: Iterable[Trajectory | Failure]) -> Rollout:
    failures: list[Failure] = []
    trajectories = _sorted(_without_failures(ended, failures.append))
    return Rollout(summarise(trajectories), tuple(failures), kept=trajectories)


def _recorded(ended: Iterable[Trajectory | Failure], folder: RunFolder) -> Rollout:
    failures: list[Failure] = []

    def note(failure: Failure) -> None:
        failures.append(replace(failure, trajectory=None))
        folder.record_failure(failure)

    def write() -> Iterator[Trajectory]:
        for trajectory in _without_failures(ended, note):
            writer.write(trajectory)
            yield trajectory

    earlier = read_trajectories(folder.path) if folder.finished else ()
    with TrajectoryWriter(folder.path) as writer:
        summary = summarise(chain(earlier, write()))
    return Rollout(summary, tuple(failures), folder.path)


def _without_failures(ended: Iterable[Trajectory | Failure], note: Callable[[Failure], None]) -> Iterator[Trajectory]:
    for end in ended:
        if isinstance(end, Failure):
            note(end)
        else:
            yield end


def _sorted(trajectories: Iterable[Trajectory]) -> tuple[Trajectory, ...]:
    return tuple(sorted(trajectories, key=number_of))
