"""play: the loop between an agent and a vector environment, one episode in each environment."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from deepeyes_env.agents.agent import Agent, AgentError, Reply, as_reply, name_of, with_context_log_of
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.snapshot import Snapshot
from deepeyes_env.envs.vector.base import BatchedVectorEnv
from deepeyes_env.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode to be played.

    Attributes:
        number: Names it within the run.
        seed: Seed of its environment: decides the sample and the order of its options.
        index: Index of the sample to play instead of the one that the seed would draw.
        start: State to go on from, instead of the beginning of a sample.
    """

    number: int
    seed: int
    index: int | None = None
    start: Snapshot | None = field(default=None, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """What the environment is reset with."""
        told = {"index": self.index, "snapshot": self.start}
        return {name: value for name, value in told.items() if value is not None}

    def labelled(self, trajectory: Trajectory, metadata: Mapping[str, Any]) -> Trajectory:
        """Return a trajectory of this episode with its number, its seed and some metadata of the run."""
        label = {**trajectory.metadata, **metadata, "episode": self.number, "seed": self.seed}
        return replace(trajectory, metadata=label)


@dataclass(frozen=True, slots=True)
class Failure:
    """An episode that could not be played to its end because the environment or the agent failed.

    Attributes:
        episode: Which one.
        error: What went wrong.
        trajectory: How far it came; ``None`` if it could not even begin.
    """

    episode: Episode
    error: str
    trajectory: Trajectory | None = None


def play(
    env: BatchedVectorEnv,
    agent: Agent,
    episodes: Iterable[Episode],
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[Trajectory | Failure]:
    """Play episodes and give each one as it ends: a finished, scored trajectory, or a failure.

    Lazy: nothing is played that is not asked for, and no more episodes are held than the environment runs at once.

    Args:
        env: A vector environment of this package (``deepeyes_env.envs.vector``), with ``AutoresetMode.DISABLED``.
        agent: Who plays.
        episodes: What to play, begun in this order.
        metadata: JSON-able; goes into the metadata of each trajectory, beside ``agent``, ``episode`` and ``seed``.

    Raises:
        UsageError: ``env`` resets itself, or the agent returned a wrong number of replies.
    """
    if env.autoreset_mode is not AutoresetMode.DISABLED:
        raise UsageError(
            f"autoreset_mode={env.autoreset_mode}: play() begins episodes itself; use AutoresetMode.DISABLED"
        )
    running = _RunningEpisodes(env, agent, {**(metadata or {}), "agent": name_of(agent)})
    pending = iter(episodes)
    while True:
        yield from running.fill(pending)
        if not running.episodes:
            return
        yield from running.advance()


class _RunningEpisodes:
    """The running episodes of a vector environment, by the index of their environment."""

    def __init__(self, env: BatchedVectorEnv, agent: Agent, metadata: Mapping[str, Any]) -> None:
        self.episodes: dict[int, tuple[Episode, Trajectory]] = {}
        self._env = env
        self._agent = agent
        self._metadata = metadata
        self._ever_reset = False

    def fill(self, pending: Iterator[Episode]) -> Iterator[Failure]:
        """Begin an episode in every free environment while there are any pending."""
        while free := [i for i in range(self._env.num_envs) if i not in self.episodes]:
            begun = dict(zip(free, pending, strict=False))
            if not begun:
                return
            infos = self._reset(begun)
            for i, episode in begun.items():
                if error := _of_env(infos, "error", i):
                    yield _failed(Failure(episode, str(error)))
                else:
                    self.episodes[i] = (episode, self._labelled(_of_env(infos, "trajectory", i), episode))

    def advance(self) -> Iterator[Trajectory | Failure]:
        """Let the agent say the next message of every running episode."""
        indices = sorted(self.episodes)
        replies = self._agent.act([self.episodes[i][1] for i in indices])
        if len(replies) != len(indices):
            raise UsageError(
                f"agent {name_of(self._agent)!r} returned {len(replies)} replies for {len(indices)} episodes"
            )
        said: dict[int, Reply] = {}
        for i, each in zip(indices, replies, strict=True):
            reply = as_reply(each, self._agent)
            if isinstance(reply, AgentError):
                episode, trajectory = self.episodes.pop(i)
                yield _failed(Failure(episode, str(reply), trajectory))
            else:
                said[i] = reply
        if not said:
            return
        actions = [said[i].message if i in said else None for i in range(self._env.num_envs)]
        _, _, terminated, truncated, infos = self._env.step(actions)
        done = np.logical_or(terminated, truncated)
        for i, reply in said.items():
            ended = self._after(i, reply, infos, bool(done[i]))
            if ended is not None:
                del self.episodes[i]
                yield ended

    def _after(self, i: int, reply: Reply, infos: Mapping[str, Any], done: bool) -> Trajectory | Failure | None:
        episode, trajectory = self.episodes[i]
        if error := _of_env(infos, "error", i):
            broken = _of_env(infos, "trajectory", i) or trajectory
            return _failed(Failure(episode, str(error), self._labelled(broken, episode)))
        trajectory = trajectory.extended(reply.recorded(_of_env(infos, "turn", i)))
        self.episodes[i] = (episode, trajectory)
        if not done:
            return None
        finished: Trajectory = _of_env(infos, "trajectory", i)
        finished = self._labelled(replace(finished, turns=trajectory.turns), episode)
        return with_context_log_of(self._agent, finished)

    def _reset(self, begun: Mapping[int, Episode]) -> Mapping[str, Any]:
        episodes = [begun.get(i) for i in range(self._env.num_envs)]
        each = [episode.options if episode else {} for episode in episodes]
        options: dict[str, Any] = {name: [every.get(name) for every in each] for name in {*chain(*each)}}
        if self._ever_reset:  # the first reset is one of all, whether or not there are episodes for all
            options["reset_mask"] = np.array([episode is not None for episode in episodes])
        self._ever_reset = True
        _, infos = self._env.reset(seed=[episode.seed if episode else None for episode in episodes], options=options)
        return infos

    def _labelled(self, trajectory: Trajectory, episode: Episode) -> Trajectory:
        return episode.labelled(trajectory, self._metadata)


def _of_env(infos: Mapping[str, Any], key: str, i: int) -> Any:
    """Return one environment's value from the infos of a vector environment; ``None`` if it gave none."""
    present = infos.get(f"_{key}")
    return infos[key][i] if present is not None and present[i] else None


def _failed(failure: Failure) -> Failure:
    logger.warning("episode %d (seed %d) failed: %s", failure.episode.number, failure.episode.seed, failure.error)
    return failure
