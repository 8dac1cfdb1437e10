"""Environments of this process, run by threads; one that fails does not stop the others."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from typing import Any

import gymnasium as gym

from deepeyes_env.core import Turn
from deepeyes_env.data import load
from deepeyes_env.data.dataset import VISUAL_SEARCH
from deepeyes_env.envs.daemon_threads import DaemonThreads
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.envs.vector.messages import Command, EnvDescription, Outcome, Reset, Step, Truncate
from deepeyes_env.envs.vector.samples import SharedSamples
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import UsageError

logger = logging.getLogger(__name__)


SLOW_ENV_THREADS = 16
"""How many environments may be waiting for slow tools at a time before others have to wait for them."""


class LocalEnvs:
    """Environments of this process, by id.

    Args:
        env_ids: Their indices in the vector environment.
        make: Makes one.
        num_threads: How many threads run them, the calling one included.

    Raises:
        Exception: Whatever ``make`` raises: a wrong configuration is the user's to mend.
    """

    def __init__(self, env_ids: range, make: Callable[[], VisualToolboxEnv], num_threads: int) -> None:
        self._make = make
        self._envs: dict[int, VisualToolboxEnv | None] = {i: make() for i in env_ids}
        self._attributes: dict[int, dict[str, Any]] = {i: {} for i in env_ids}
        self._slow_threads = DaemonThreads(SLOW_ENV_THREADS, "slow-env")
        self._busy: dict[int, Future[Outcome]] = {}
        self._helpers = min(num_threads, len(env_ids)) - 1
        self._threads = DaemonThreads(self._helpers, "envs")

    @classmethod
    def open(cls, env_ids: range, kwargs: Mapping[str, Any], *, group_size: int, num_threads: int) -> LocalEnvs:
        """Make environments that share one data set.

        Args:
            env_ids: Their indices in the vector environment.
            kwargs: Keyword arguments of ``VisualToolboxEnv``, or ``max_episode_steps``.
            group_size: How many of them play the same sample.
            num_threads: How many threads run them.
        """
        kwargs = env_arguments(kwargs)
        dataset = load(kwargs.get("dataset", VISUAL_SEARCH))
        shared = SharedSamples(dataset, keep=2 * len(env_ids) // group_size) if group_size > 1 else dataset
        return cls(env_ids, lambda: VisualToolboxEnv(**{**kwargs, "dataset": shared}), num_threads)

    def describe(self) -> EnvDescription:
        """Return what all of these environments have in common."""
        env = next(env for env in self._envs.values() if env is not None)
        return EnvDescription(
            env.observation_space, env.action_space, env.metadata, env.render_mode, num_samples=len(env.dataset)
        )

    def run(self, commands: Mapping[int, Command]) -> dict[int, Outcome]:
        """Execute one command for each of some environments, beginning them in the order given."""
        outcomes: dict[int, Outcome] = {}
        pending = deque(commands.items())

        def work() -> None:
            while True:
                try:
                    i, command = pending.popleft()
                except IndexError:
                    return
                outcomes[i] = self._execute(i, command)

        helpers = min(self._helpers, len(commands) - 1)
        running = [self._threads.submit(work) for _ in range(helpers)]
        work()
        for helper in running:
            helper.result()
        return outcomes

    def run_with_timeout(self, commands: Mapping[int, Command], timeout: float) -> dict[int, Outcome]:
        """Execute commands, but wait no longer than ``timeout`` seconds; returns what is done by then.

        The rest goes on. An environment that is at a command already is not given another: its outcome is returned once
        there is one, to whoever asks it for the same command again.
        """
        for i, command in commands.items():
            if i not in self._busy:
                self._busy[i] = self._slow_threads.submit(self._execute, i, command)
        wait_for_futures([self._busy[i] for i in commands], timeout)
        return {i: self._busy.pop(i).result() for i in commands if self._busy[i].done()}

    def call(self, name: str, *args: Any, **kwargs: Any) -> dict[int, Any]:
        """Return an attribute of each environment, or call it; ``None`` for one that failed and was not reset yet."""
        return {i: _call(env, name, args, kwargs) if env else None for i, env in self._envs.items()}

    def set(self, name: str, values: Mapping[int, Any]) -> None:
        """Set an attribute of each environment, and of those that come in its place."""
        for i, value in values.items():
            self._attributes[i][name] = value
            env = self._envs[i]
            if env is not None:
                env.set_wrapper_attr(name, value)

    def keep(self, env_ids: Container[int]) -> None:
        """Let go of all other environments; the next reset makes new ones."""
        for i in self._envs:
            if i not in env_ids:
                self.discard(i)

    def close(self) -> None:
        """Close the environments and end the threads; a tool that hangs is not waited for."""
        self._threads.close()
        self._slow_threads.close()
        for busy in self._busy.values():
            busy.cancel()
        for i in self._envs:
            self.discard(i)

    def _execute(self, i: int, command: Command) -> Outcome:
        turns: tuple[Turn, ...] = ()
        try:
            if isinstance(command, Reset):
                env = self._envs[i] = self._envs[i] or self._made_anew(i)
                observation, info = env.reset(seed=command.seed, options=command.options)
                return Outcome(observation, info=info)
            stepped = self._envs[i]
            if stepped is None:
                raise gym.error.ResetNeeded("the environment failed and was not reset")
            turns = stepped.trajectory.turns
            if isinstance(command, Truncate):
                return Outcome(*stepped.truncate(command.stop))
            return Outcome(*stepped.step(command.action))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            logger.exception("environment %d failed in %s", i, type(command).__name__.lower())
            new_turn = self._new_turn(i, turns) if isinstance(command, Step) else {}
            self.discard(i)
            return Outcome.failed(error, new_turn)

    def _made_anew(self, i: int) -> VisualToolboxEnv:
        env = self._make()
        for name, value in self._attributes[i].items():
            env.set_wrapper_attr(name, value)
        return env

    def _new_turn(self, i: int, turns: tuple[Turn, ...]) -> dict[str, Any]:
        """Return as ``info`` the turn that was taken before the failure: a judge that failed can be asked again."""
        env = self._envs[i]
        after = env.trajectory.turns if env is not None else turns
        return {"turn": after[-1]} if len(after) > len(turns) else {}

    def discard(self, i: int) -> None:
        """Let go of an environment; the next reset makes a new one."""
        env, self._envs[i] = self._envs[i], None
        if env is None:
            return
        try:
            env.close()
        except Exception:
            logger.exception("environment %d failed in close", i)


def env_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments of ``VisualToolboxEnv``, to which Gymnasium's ``max_episode_steps`` is a limit of turns.

    An environment that ends by its own limit is scored; one that ``TimeLimit`` ends is not.

    Raises:
        UsageError: ``max_episode_steps`` is no number of steps.
    """
    arguments = dict(kwargs)
    steps = arguments.pop("max_episode_steps", None)
    if steps in (None, -1):  # -1 is Gymnasium's word for none
        return arguments
    if not isinstance(steps, int) or steps < 1:
        raise UsageError(
            f"max_episode_steps={steps!r}: must be a whole number of steps, at least 1; or -1 for no limit"
        )
    return arguments | {"max_turns": min(steps, arguments.get("max_turns", DEFAULT_MAX_TURNS))}


def _call(env: VisualToolboxEnv, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    attribute = env.get_wrapper_attr(name)
    return attribute(*args, **kwargs) if callable(attribute) else attribute
