"""RayVectorEnv: many environments in the processes of a Ray cluster."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from deepeyes_env.envs.additions import Additions
from deepeyes_env.envs.toolbox import Toolbox, registered_kwargs
from deepeyes_env.envs.vector.actor import RayActor, actor_errors, get_ray, send, wait_for
from deepeyes_env.envs.vector.base import BatchedVectorEnv, check_groups
from deepeyes_env.envs.vector.messages import Command, Outcome, Reset, Step
from deepeyes_env.envs.vector.ray_agent import RayAgent
from deepeyes_env.envs.vector.transport import restore, unpack
from deepeyes_env.envs.vector.worker import WorkerConfig
from deepeyes_env.errors import UsageError
from deepeyes_env.protocols import portable

logger = logging.getLogger(__name__)

MAX_REPLACEMENTS = 3
"""How often an actor may die of one and the same command before that is an error."""

CLOSE_SECONDS = 5
"""How long the tools of an actor get to close."""


class RayVectorEnv(BatchedVectorEnv):
    """Many environments in Ray actors; see ``BatchedVectorEnv`` for how they behave.

    Whole groups live in one actor, so that their image is decoded once. A vector step is one Ray call for each actor;
    its arrays come back in one object of Ray's shared memory, of which observations and trajectories are views: memory
    is freed when the last image of a step is let go.

    An actor that dies is replaced: the running episodes of its environments are replayed from seed and actions, then
    the interrupted command is executed. Nothing is lost, and observations are the same as if nothing had happened
    (if tools are deterministic). Should the new ones die of that command too, its environments are asked one by one:
    the episodes at which the actor dies have failed, and the others go on.

    The actors load the plugins that this process has loaded; toolboxes and rubrics that were registered otherwise are
    sent to them.

    Ray is started on this machine if ``ray.init`` was not called; then ``close`` stops it.

    Attributes:
        actor_errors: For each environment, how often its actor died since its last answer, while a command was out.

    Args:
        toolbox: An environment id (its registered keyword arguments apply), or a toolbox.
        num_envs: Number of environments.
        group_size: How many consecutive environments play the same samples; see ``BatchedVectorEnv``.
        num_actors: Over how many actors the groups are spread; by default one for each free CPU of the cluster but the
            spare ones, and no more than there are groups.
        spare_cpus: How many CPUs are left to the caller, which Ray knows nothing of: a policy that computes on them.
        autoreset_mode: When to begin the next episode: an ``AutoresetMode`` or its value.
        actor_options: Ray options of the actors, by default ``{"num_cpus": 1}``; each runs as many threads as it has
            CPUs.
        **env_kwargs: Keyword arguments of ``VisualToolboxEnv``, of which Gymnasium's ``max_episode_steps`` lowers
            ``max_turns``. They are sent to the actors:
            give a data set by path where you can. A ``store`` gives each actor its own with the same byte budget.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: ``num_envs`` is no positive multiple of ``group_size``; there is no actor, or more than groups.
        TypeError: A keyword argument cannot be sent to the actors.
        RayLostError: Ray's own process on this machine has ended; so do ``reset``, ``step``, ``send`` and ``recv``.
        Exception: Whatever the environments' configuration raises.
    """

    def __init__(
        self,
        toolbox: str | Toolbox = "VisualToolbox-v2",
        num_envs: int = 1,
        *,
        group_size: int = 1,
        num_actors: int | None = None,
        spare_cpus: int = 0,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        actor_options: Mapping[str, Any] | None = None,
        **env_kwargs: Any,
    ) -> None:
        check_groups(num_envs, group_size)
        num_groups = num_envs // group_size
        if num_actors is not None and not 1 <= num_actors <= num_groups:
            raise UsageError(f"num_actors={num_actors}: must be from 1 to the number of groups, {num_groups}")
        options = {"num_cpus": 1, **(actor_options or {})}
        config = WorkerConfig(
            {**registered_kwargs(toolbox), **env_kwargs},
            Additions.here(),
            group_size,
            num_threads=max(1, int(options["num_cpus"])),
        )
        self._actors: list[RayActor] = []
        self._started_ray = _start_ray()
        self._agent = RayAgent(self._started_ray)
        try:
            if num_actors is None:
                free = int(get_ray().available_resources().get("CPU", 1)) - spare_cpus
                num_actors = max(1, min(num_groups, free))
            sent = send(config)
            self._actors = [RayActor(share, sent, options) for share in _shares(num_groups, num_actors, group_size)]
            with self._agent:
                descriptions = [actor.wait() for actor in self._actors]
        except BaseException:
            self.close_extras()
            raise
        self._actor_of = {i: actor for actor in self._actors for i in actor.env_ids}
        self._logs: dict[int, list[Command]] = {i: [] for i in range(num_envs)}
        self._attributes: dict[str, Mapping[int, Any]] = {}
        self.actor_errors = [0] * num_envs
        super().__init__(descriptions[0], num_envs, group_size, autoreset_mode)

    def actor_pids(self) -> tuple[int, ...]:
        """Return the process id of each actor, each on its own node."""
        return tuple(actor.pid for actor in self._actors)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments, end the actors, and stop Ray if this vector environment started it."""
        ray = get_ray()
        self._agent.close()
        if ray.is_initialized() and not self._agent.lost:
            closing = [actor.submit("close", ()) for actor in self._actors]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
            for actor in self._actors:
                ray.kill(actor.handle)
        self._actors = []
        if self._started_ray:
            ray.shutdown()

    def _execute(self, commands: Mapping[int, Command], timeout: float | None = None) -> dict[int, Outcome]:
        shares: dict[RayActor, dict[int, Command]] = {}
        for i, command in commands.items():
            if isinstance(command, Step):
                command = Step(portable(command.action))
            shares.setdefault(self._actor_of[i], {})[i] = command
        answers = self._ask(
            "run", {actor: (share, timeout) for actor, share in shares.items()}, resets=_resets(commands)
        )
        return {i: restore(outcome, self._running.get(i)) for i, outcome in answers.items()}

    def _call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int, Any]:
        return self._ask("call", dict.fromkeys(self._actors, (name, args, kwargs)))

    def _set(self, name: str, values: Mapping[int, Any]) -> None:
        self._attributes[name] = dict(values)
        self._ask("set", {actor: (name, _share(values, actor)) for actor in self._actors})

    def _log(self, commands: Mapping[int, Command], outcomes: Mapping[int, Outcome]) -> None:
        for i, outcome in outcomes.items():
            self.actor_errors[i] = 0
            if outcome.done:
                self._logs[i] = []
            elif isinstance(commands[i], Reset):
                self._logs[i] = [commands[i]]
            else:
                self._logs[i].append(commands[i])

    def _ask(
        self, method: str, arguments: Mapping[RayActor, tuple[Any, ...]], resets: frozenset[int] = frozenset()
    ) -> dict[int, Any]:
        """Call a method of several actors at once, replacing those that die.

        Args:
            method: Method of ``Worker`` that returns ``PackedArrays`` of values by environment.
            arguments: Its arguments for each actor.
            resets: Environments whose running episode need not be replayed.
        """
        with self._agent:
            asked = [(actor, actor.submit(method, given)) for actor, given in arguments.items()]
            answers: dict[int, Any] = {}
            for actor, answer in asked:
                answers.update(self._answer(actor, answer, method, arguments[actor], resets))
            return answers

    def _answer(
        self, actor: RayActor, answer: Any, method: str, given: tuple[Any, ...], resets: frozenset[int]
    ) -> dict[int, Any]:
        runs, died = method == "run", 0
        while True:
            try:
                answer = self._asked_again(actor, method, given, resets) if died else answer
                answers: dict[int, Any] = unpack(wait_for(answer))
            except actor_errors() as error:
                if self._closing:
                    raise
                self._agent.check(error)
                logger.warning("the actor of environments %s died (%s); replacing it", actor.env_ids, error)
                died = self._most_deaths(given[0]) if runs else died + 1
                if died <= MAX_REPLACEMENTS:
                    continue
                if not runs:
                    raise _dies(actor, method, error) from error
                return self._one_by_one(actor, given[0], resets)
            if runs:
                self._log(given[0], answers)
            return answers

    def _most_deaths(self, asked: Collection[int]) -> int:
        """Count a death of an actor of which one of the environments asked may be the cause; returns the highest count.

        Counted over calls: an actor may die of a command that a call with a timeout has not waited for.
        """
        for i in asked:
            self.actor_errors[i] += 1
        return max(self.actor_errors[i] for i in asked)

    def _asked_again(self, actor: RayActor, method: str, given: tuple[Any, ...], resets: frozenset[int]) -> Any:
        """Replace an actor, bring its environments to where they were, and call a method; returns the reference."""
        actor.replace()
        for name, values in self._attributes.items():
            actor.submit("set", (name, _share(values, actor)))
        logs = {i: self._logs[i] for i in actor.env_ids if self._logs[i] and i not in resets}
        replayed, answer = actor.submit("replay", (logs,)), actor.submit(method, given)
        wait_for(replayed)
        return answer

    def _one_by_one(self, actor: RayActor, share: Mapping[int, Command], resets: frozenset[int]) -> dict[int, Outcome]:
        """Execute commands one after the other on an actor that died of them; those it dies of again have failed.

        Raises:
            RuntimeError: It dies of the first ones without exception: that is no fault of single episodes.
        """
        outcomes: dict[int, Outcome] = {}
        dead, lived = True, False
        for i, command in share.items():
            given = ({i: command}, None)
            try:
                answer = self._asked_again(actor, "run", given, resets) if dead else actor.submit("run", given)
                found: dict[int, Outcome] = unpack(wait_for(answer))
                dead, lived = False, True
            except actor_errors() as error:
                if self._closing:
                    raise
                self._agent.check(error)
                if not lived and len(outcomes) >= MAX_REPLACEMENTS:
                    raise _dies(actor, "run", error) from error
                logger.error("environment %d failed: its actor dies of what it does (%s)", i, error)
                found = {i: Outcome.failed(RuntimeError("the process of the environment died of it"), {})}
                dead = True
            resets -= {i}
            self._log(share, found)
            outcomes |= found
        return outcomes


def _share(values: Mapping[int, Any], actor: RayActor) -> dict[int, Any]:
    return {i: values[i] for i in actor.env_ids}


def _dies(actor: RayActor, method: str, cause: Exception) -> RuntimeError:
    return RuntimeError(
        f"the actor of environments {actor.env_ids.start} to {actor.env_ids.stop - 1} dies of the same command "
        f"({method}) again and again; last reason: {cause}"
    )


def _start_ray() -> bool:
    """Start Ray on this machine unless it is there; returns whether that was needed.

    Raises:
        UsageError: Ray finds no folder that it can write to.
    """
    ray = get_ray()
    if ray.is_initialized():
        return False
    try:
        ray.init(include_dashboard=False)
    except OSError as error:
        raise UsageError(
            f"Ray cannot be started ({error}); it keeps files in HOME={os.environ.get('HOME', '')!r} and in the folder "
            "for temporary files: set HOME to a folder that can be written"
        ) from error
    return True


def _shares(num_groups: int, num_actors: int, group_size: int) -> list[range]:
    """Divide whole groups over actors as evenly as can be."""
    bounds = [actor * num_groups // num_actors * group_size for actor in range(num_actors + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(bounds)]


def _resets(commands: Mapping[int, Command]) -> frozenset[int]:
    return frozenset(i for i, command in commands.items() if isinstance(command, Reset))
