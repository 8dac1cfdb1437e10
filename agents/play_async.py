"""play_async: many conversations with an agent that waits for somebody else's machine, each at its own pace."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

import gymnasium as gym

from deepeyes_env.agents.agent import AgentError, AsyncAgent, Reply, as_reply, name_of, with_context_log_of
from deepeyes_env.agents.play import Episode, Failure
from deepeyes_env.core import Trajectory
from deepeyes_env.data import load
from deepeyes_env.data.dataset import VISUAL_SEARCH
from deepeyes_env.envs.toolbox import check_is_ours
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import DeepEyesError

logger = logging.getLogger(__name__)

ENV_THREADS = 16
"""How many environments may be decoding, or waiting for slow tools, at a time before others have to wait for them."""

MakeEnv: TypeAlias = Callable[[], VisualToolboxEnv]

T = TypeVar("T")


def env_maker(env: str, **env_kwargs: Any) -> MakeEnv:
    """Return a function that makes environments of an id, all of which share one data set and one ``ImageStore``.

    Args:
        env: Environment id.
        **env_kwargs: Arguments of ``VisualToolboxEnv``.

    Raises:
        UsageError: The id is not one of this package's.
    """
    check_is_ours(env)
    kwargs = {**gym.spec(env).kwargs, **env_kwargs}
    kwargs["dataset"] = load(kwargs.get("dataset", VISUAL_SEARCH))
    return partial(VisualToolboxEnv, **kwargs)


def play_async(
    make_env: MakeEnv,
    agent: AsyncAgent,
    episodes: Iterable[Episode],
    metadata: Mapping[str, Any] | None = None,
) -> Generator[Trajectory | Failure, None, None]:
    """Play episodes and give each one as it ends: a finished, scored trajectory, or a failure.

    ``agent.concurrency`` episodes are in flight at once, in an event loop of a thread of its own; environments step in
    further threads. Nothing begins before the first one is asked for; from then on no more finished episodes wait to be
    taken than are in flight at once. Closing the iterator cancels those in flight.

    Args:
        make_env: Makes an environment; called once for each conversation that goes on at the same time, and again after
            one failed. Let them share one data set and one ``ImageStore``.
        agent: Who plays.
        episodes: What to play, begun in this order.
        metadata: JSON-able; goes into the metadata of each trajectory, beside ``agent``, ``episode`` and ``seed``.

    Raises:
        Exception: Whatever ``make_env`` and ``episodes`` raise, and what the agent raises but ``AgentError``.
    """
    runner = _AsyncRunner(make_env, agent, iter(episodes), {**(metadata or {}), "agent": name_of(agent)})
    thread = threading.Thread(target=runner.run, name="play_async", daemon=True)
    thread.start()
    try:
        while (end := runner.take()) is not None:
            yield end
    finally:
        runner.cancel()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Broken:
    """The run cannot go on."""

    error: BaseException


class _EnvFailedError(DeepEyesError):
    """An environment raised; the message is that exception's type and message."""


class _AsyncRunner:
    """Plays episodes in an event loop of its own and hands them to the thread that asked for them."""

    def __init__(
        self, make_env: MakeEnv, agent: AsyncAgent, episodes: Iterator[Episode], metadata: Mapping[str, Any]
    ) -> None:
        self._make_env = make_env
        self._agent = agent
        self._episodes = episodes
        self._metadata = metadata
        self._ended: queue.SimpleQueue[Trajectory | Failure | _Broken | None] = queue.SimpleQueue()
        self._begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._playing: asyncio.Task[Any] | None = None
        self._room = asyncio.Semaphore(agent.concurrency)
        self._threads = ThreadPoolExecutor(min(ENV_THREADS, agent.concurrency), thread_name_prefix="play_async")

    # --- from the thread that asks -------------------------------------------------------------------------------

    def take(self) -> Trajectory | Failure | None:
        """Return the next episode that ends; ``None`` after the last."""
        end = self._ended.get()
        if isinstance(end, _Broken):
            raise end.error
        if end is not None:
            self._call(self._room.release)
        return end

    def cancel(self) -> None:
        """End what goes on."""
        self._begun.wait()
        if self._playing is not None:
            self._call(self._playing.cancel)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # The loop has just come to its end.
            logger.debug("the event loop is closed")

    # --- in the thread of the loop -------------------------------------------------------------------------------

    def run(self) -> None:
        """Play all episodes."""
        try:
            with self._threads:
                asyncio.run(self._play_all())
            self._ended.put(None)
        except asyncio.CancelledError:
            self._ended.put(None)
        except BaseException as error:
            self._ended.put(_Broken(error))
        finally:
            self._begun.set()

    async def _play_all(self) -> None:
        self._loop, self._playing = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._agent.concurrency):
                    group.create_task(self._play_in_turn())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _play_in_turn(self) -> None:
        """Play one episode after another."""
        env: VisualToolboxEnv | None = None
        try:
            for episode in self._episodes:
                if env is None:
                    env = await self._in_thread(self._make_env)
                end, usable = await self._play(env, episode)
                if isinstance(end, Failure):
                    logger.warning("episode %d (seed %d) failed: %s", episode.number, episode.seed, end.error)
                if not usable:
                    await self._close(env)
                    env = None
                await self._room.acquire()
                self._ended.put(end)
        finally:
            if env is not None:
                await self._close(env)

    async def _play(self, env: VisualToolboxEnv, episode: Episode) -> tuple[Trajectory | Failure, bool]:
        """Play an episode; return it, and whether the environment can go on."""
        so_far: Trajectory | None = None
        reply: Reply | None = None
        try:
            _, info = await self._in_env(partial(env.reset, seed=episode.seed, options=episode.options))
            so_far = episode.labelled(info["trajectory"], self._metadata)
            while True:
                said = as_reply(await self._agent.reply(so_far), self._agent)
                if isinstance(said, AgentError):
                    raise said
                reply = said
                *_, terminated, truncated, info = await self._in_env(partial(env.step, reply.message))
                so_far = so_far.extended(reply.recorded(info["turn"]))
                if terminated or truncated:
                    finished = replace(info["trajectory"], turns=so_far.turns, metadata=so_far.metadata)
                    return with_context_log_of(self._agent, finished), True
        except AgentError as error:
            return Failure(episode, str(error), so_far), True
        except _EnvFailedError as error:
            return Failure(episode, str(error), so_far and _with_last_turn(so_far, env, reply)), False

    async def _in_env(self, call: Callable[[], T]) -> T:
        try:
            return await self._in_thread(call)
        except Exception as error:
            logger.exception("an environment failed")
            raise _EnvFailedError(f"{type(error).__name__}: {error}") from error

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """Run a call in a thread; when cancelled, wait until it is done: it works on an environment."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise

    async def _close(self, env: VisualToolboxEnv) -> None:
        try:
            await self._in_thread(env.close)
        except Exception:
            logger.exception("an environment failed in close")


def _with_last_turn(so_far: Trajectory, env: VisualToolboxEnv, reply: Reply | None) -> Trajectory:
    """Add the turn that was taken before the failure: a judge that failed can be asked again."""
    turns = env.trajectory.turns
    return so_far.extended(reply.recorded(turns[-1])) if reply and len(turns) > len(so_far.turns) else so_far
