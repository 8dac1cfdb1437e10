"""RayVectorEnv: many environments in the processes of a Ray cluster."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode

from deepeyes_env.core import missing_extra
from deepeyes_env.envs.toolbox import Toolbox, registered_toolboxes
from deepeyes_env.envs.vector.base import BatchedVectorEnv, check_groups
from deepeyes_env.envs.vector.local import Command, EnvDescription, Outcome, Reset
from deepeyes_env.envs.vector.transport import restore, unpack
from deepeyes_env.envs.vector.worker import Worker, WorkerConfig

logger = logging.getLogger(__name__)

MAX_REPLACEMENTS = 3
"""How often an actor may die of one and the same command before that is an error."""

WAIT_SECONDS = 30
"""After how long it is said that an actor has not started yet."""

CLOSE_SECONDS = 5
"""How long the tools of an actor get to close."""


class RayVectorEnv(BatchedVectorEnv):
    """Many environments in Ray actors; see :class:`BatchedVectorEnv` for how they behave.

    Whole groups live in one actor, so that their image is decoded once. A vector step is one Ray call for each actor;
    its arrays come back in one object of Ray's shared memory, of which observations and trajectories are views: memory
    is freed when the last image of a step is let go.

    An actor that dies is replaced: the running episodes of its environments are replayed from seed and actions, then
    the interrupted command is executed. Nothing is lost, and observations are the same as if nothing had happened
    (if tools are deterministic).

    Ray is started on this machine if ``ray.init`` was not called; then :meth:`close` stops it.

    Args:
        toolbox: An environment id (its registered keyword arguments apply), or a toolbox.
        num_envs: Number of environments.
        group_size: How many consecutive environments play the same samples; see :class:`BatchedVectorEnv`.
        num_actors: Over how many actors the groups are spread; by default one for each free CPU of the cluster, and no
            more than there are groups.
        autoreset_mode: When to begin the next episode: an ``AutoresetMode`` or its value.
        actor_options: Ray options of the actors, by default ``{"num_cpus": 1}``; each runs as many threads as it has
            CPUs.
        **env_kwargs: Keyword arguments of :class:`~deepeyes_env.envs.VisualToolboxEnv`. They are sent to the actors:
            give a data set by path where you can. A ``store`` gives each actor its own with the same byte budget.

    Raises:
        MissingExtraError: Ray is not installed.
        ValueError: ``num_envs`` is no positive multiple of ``group_size``; there is no actor, or more than groups.
        TypeError: A keyword argument cannot be sent to the actors.
        Exception: Whatever the environments' configuration raises.
    """

    def __init__(
        self,
        toolbox: str | Toolbox = "VisualToolbox-v2",
        num_envs: int = 1,
        *,
        group_size: int = 1,
        num_actors: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        actor_options: Mapping[str, Any] | None = None,
        **env_kwargs: Any,
    ) -> None:
        check_groups(num_envs, group_size)
        num_groups = num_envs // group_size
        if num_actors is not None and not 1 <= num_actors <= num_groups:
            raise ValueError(f"num_actors={num_actors}: must be from 1 to the number of groups, {num_groups}")
        options = {"num_cpus": 1, **(actor_options or {})}
        config = WorkerConfig(
            {**_registered_kwargs(toolbox), **env_kwargs},
            registered_toolboxes(),
            group_size,
            num_threads=max(1, int(options["num_cpus"])),
        )
        self._actors: list[_Actor] = []
        self._started_ray = _start_ray()
        try:
            if num_actors is None:
                num_actors = max(1, min(num_groups, int(_ray().available_resources().get("CPU", 1))))
            sent = _send(config)
            self._actors = [_Actor(share, sent, options) for share in _shares(num_groups, num_actors, group_size)]
            descriptions = [actor.wait() for actor in self._actors]
        except BaseException:
            self.close_extras()
            raise
        self._actor_of = {i: actor for actor in self._actors for i in actor.numbers}
        self._logs: dict[int, list[Command]] = {i: [] for i in range(num_envs)}
        super().__init__(descriptions[0], num_envs, group_size, autoreset_mode)

    def actor_pids(self) -> tuple[int, ...]:
        """Return the process id of each actor, each on its own node."""
        return tuple(actor.pid for actor in self._actors)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments, end the actors, and stop Ray if this vector environment started it."""
        ray = _ray()
        if ray.is_initialized():
            closing = [actor.handle.close.remote() for actor in self._actors]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS) if closing else None
            for actor in self._actors:
                ray.kill(actor.handle)
        self._actors = []
        if self._started_ray:
            ray.shutdown()

    def _execute(self, commands: Mapping[int, Command]) -> dict[int, Outcome]:
        shares: dict[_Actor, dict[int, Command]] = {}
        for i, command in commands.items():
            shares.setdefault(self._actor_of[i], {})[i] = command
        answers = self._ask("run", {actor: (share,) for actor, share in shares.items()}, resets=_resets(commands))
        outcomes = {i: restore(outcome, self._running.get(i)) for i, outcome in answers.items()}
        for i, command in commands.items():
            self._log(i, command, outcomes[i])
        return outcomes

    def _call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int, Any]:
        return self._ask("call", dict.fromkeys(self._actors, (name, args, kwargs)))

    def _log(self, i: int, command: Command, outcome: Outcome) -> None:
        if outcome.done:
            self._logs[i] = []
        elif isinstance(command, Reset):
            self._logs[i] = [command]
        else:
            self._logs[i].append(command)

    def _ask(
        self, method: str, arguments: Mapping[_Actor, tuple[Any, ...]], resets: frozenset[int] = frozenset()
    ) -> dict[int, Any]:
        """Call a method of several actors at once, replacing those that die.

        Args:
            method: Method of :class:`Worker` that returns a parcel of values by environment.
            arguments: Its arguments for each actor.
            resets: Environments whose running episode need not be replayed.
        """
        asked = [(actor, actor.submit(method, given)) for actor, given in arguments.items()]
        answers: dict[int, Any] = {}
        for actor, answer in asked:
            parcel = self._answer(actor, answer, method, arguments[actor], resets)
            answers.update(unpack(parcel))
        return answers

    def _answer(self, actor: _Actor, answer: Any, method: str, given: tuple[Any, ...], resets: frozenset[int]) -> Any:
        for attempt in range(MAX_REPLACEMENTS + 1):
            try:
                if attempt:
                    actor.replace()
                    logs = {i: self._logs[i] for i in actor.numbers if self._logs[i] and i not in resets}
                    replayed, answer = actor.submit("replay", (logs,)), actor.submit(method, given)
                    _get(replayed)
                return _get(answer)
            except _deaths() as error:
                logger.warning("the actor of environments %s died (%s); replacing it", actor.numbers, error)
                cause = error
        raise RuntimeError(
            f"the actor of environments {actor.numbers.start} to {actor.numbers.stop - 1} died {MAX_REPLACEMENTS + 1} "
            f"times of the same command ({method}); last reason: {cause}"
        ) from cause


class _Actor:
    """One actor, and what it takes to replace it."""

    def __init__(self, numbers: range, config: Any, options: Mapping[str, Any]) -> None:
        self.numbers = numbers
        self._config = config
        self._options = options
        self._start()

    def _start(self) -> None:
        self.handle = _ray().remote(**self._options)(Worker).remote()
        self._started = self.handle.start.remote(self._config, self.numbers)

    def wait(self) -> EnvDescription:
        """Wait until it is up, and return what its environments have in common."""
        if not _ray().wait([self._started], timeout=WAIT_SECONDS)[0]:
            logger.warning(
                "the actor of environments %s has not started; it waits for %s, and free are %s: close other actors, "
                "or give fewer num_actors or other actor_options",
                *(self.numbers, self._options, _ray().available_resources()),
            )
        self.pid, description = _get(self._started)
        return description

    def replace(self) -> None:
        """Start another in its place."""
        _ray().kill(self.handle)
        self._start()
        self.wait()

    def submit(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method; returns the reference of its result."""
        return getattr(self.handle, method).remote(*arguments)


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    return ray


def _start_ray() -> bool:
    """Start Ray on this machine unless it is there; returns whether that was needed."""
    ray = _ray()
    if ray.is_initialized():
        return False
    ray.init(include_dashboard=False)
    return True


def _deaths() -> tuple[type[Exception], ...]:
    """Return the errors by which a call says that its actor, or what it returned, is gone."""
    from ray import exceptions

    return (exceptions.RayActorError, exceptions.ObjectLostError, exceptions.OutOfMemoryError)


def _get(answer: Any) -> Any:
    """Wait for a result; what the worker raised is raised here as it was."""
    ray = _ray()
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _send(config: WorkerConfig) -> Any:
    """Put the configuration where all actors can read it; functions and classes of ``__main__`` travel with it."""
    ray = _ray()
    try:
        return ray.put(config)
    except Exception as error:
        raise TypeError(f"{_unsendable(config)} cannot be sent to the actors: {error}") from error


def _unsendable(config: WorkerConfig) -> str:
    """Return the name of the first argument or toolbox that cannot be pickled."""
    toolboxes = {toolbox.name: toolbox for toolbox in config.toolboxes}
    for name, value in {**config.env_kwargs, **toolboxes}.items():
        try:
            _ray().cloudpickle.dumps(value)
        except Exception:
            return repr(name)
    return "the configuration"


def _registered_kwargs(toolbox: str | Toolbox) -> dict[str, Any]:
    if isinstance(toolbox, str) and toolbox in gym.registry:
        return dict(gym.spec(toolbox).kwargs)
    return {"toolbox": toolbox}


def _shares(num_groups: int, num_actors: int, group_size: int) -> list[range]:
    """Divide whole groups over actors as evenly as can be."""
    bounds = [actor * num_groups // num_actors * group_size for actor in range(num_actors + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(bounds)]


def _resets(commands: Mapping[int, Command]) -> frozenset[int]:
    return frozenset(i for i, command in commands.items() if isinstance(command, Reset))
