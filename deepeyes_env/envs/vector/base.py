"""What all vector environments of this package have in common: groups, seeds, autoreset, failures."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import replace
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array
from numpy.typing import NDArray

from deepeyes_env.core import ToolCall
from deepeyes_env.envs.vector.messages import Command, EnvDescription, Outcome, Reset, Running, Step
from deepeyes_env.envs.vector.options import masked, per_env_options
from deepeyes_env.envs.vector.seeds import SeedPlan, Seeds
from deepeyes_env.envs.visual_toolbox import Observation
from deepeyes_env.errors import UsageError, UsageTypeError

SEND_TIMEOUT = 0.2
"""Seconds that the commands of one ``BatchedVectorEnv.send`` wait for their slowest environment."""

BatchedObservation = dict[str, tuple[Any, ...]]
_Sent: TypeAlias = tuple[dict[int, Command], "Future[dict[int, Outcome]]"]


class BatchedVectorEnv(VectorEnv[BatchedObservation, Sequence[Any], NDArray[Any]]):
    """Many ``VisualToolboxEnv`` with Gymnasium's vector interface.

    Observation: ``{"text": tuple of str, "images": tuple of tuples of (H, W, 3) uint8 arrays}``, one entry for each
    environment, read-only and never overwritten. Actions: one for each environment, as ``VisualToolboxEnv`` takes them;
    ``None`` leaves an environment as it is (its policy is still thinking, or its episode is over and is not to be reset
    yet): its observation comes again with reward 0.

    Groups: environment i belongs to group ``i // group_size``. All members of a group play the same samples in the same
    order, with the options of a question in the same order (GRPO). See ``SeedPlan``.

    Autoreset works as in Gymnasium: on the next step (default), in the same step, or not at all
    (``reset(options={"reset_mask": mask})``).

    Failures: an environment that raises is truncated with an empty observation and ``info["error"]``, its
    ``info["stop_reason"]`` is ``"error"`` and ``info["trajectory"]`` holds what was played; the others go on. Where a
    *reset* raises, the episode is over before its first step: the next step truncates it whatever the action is, or
    the same one does if the reset was an automatic one. The reset after that moves on to the next seed.

    Attributes:
        group_size: How many consecutive environments make a group.
        groups: Group of each environment: ``(num_envs,)`` ``int64``.

    Args:
        description: What the environments have in common.
        num_envs: Number of environments.
        group_size: How many consecutive environments make a group.
        autoreset_mode: When to begin the next episode: an ``AutoresetMode`` or its value.
    """

    def __init__(
        self, description: EnvDescription, num_envs: int, group_size: int, autoreset_mode: str | AutoresetMode
    ) -> None:
        self.num_envs = num_envs
        self.group_size = group_size
        self.groups: NDArray[np.int64] = np.arange(num_envs) // group_size
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**description.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = description.render_mode
        self.single_observation_space = description.observation_space
        self.single_action_space = description.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._num_samples = description.num_samples
        self._plan = SeedPlan(num_envs, group_size)
        self._observations: list[Observation | None] = [None] * num_envs
        self._running: dict[int, Running] = {}
        self._failed_resets: dict[int, Outcome] = {}
        self._terminated = np.zeros(num_envs, dtype=np.bool_)
        self._truncated = np.zeros(num_envs, dtype=np.bool_)
        self._done = np.zeros(num_envs, dtype=np.bool_)
        self._sender: ThreadPoolExecutor | None = None
        self._sent: list[_Sent] = []
        self._late: dict[int, Command] = {}
        self._closing = False

    @abstractmethod
    def _execute(self, commands: Mapping[int, Command], timeout: float | None = None) -> dict[int, Outcome]:
        """Execute one command for each of some environments, preferably beginning them in the order given.

        With a timeout, return after so many seconds what is done by then; the rest goes on, and to be asked to execute
        the same command again is to be asked for its outcome.
        """

    @abstractmethod
    def _call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int, Any]:
        """Return an attribute of each environment, or call it."""

    @abstractmethod
    def _set(self, name: str, values: Mapping[int, Any]) -> None:
        """Set an attribute of each environment, and of whatever comes in its place."""

    # --- Gymnasium's interface -----------------------------------------------------------------------------------

    def reset(
        self, *, seed: Seeds = None, options: dict[str, Any] | None = None
    ) -> tuple[BatchedObservation, dict[str, Any]]:
        """Begin an episode in all environments, or in those of a mask.

        Args:
            seed: One seed for all, one for each environment, or none to go on to the next episodes; see
                ``SeedPlan``. ``info["seed"]`` holds the seed that each episode got.
            options: ``{"reset_mask": (num_envs,) bool array}`` for some environments only; ``{"index": ...}`` or
                ``{"sample": ...}`` as in ``VisualToolboxEnv``, one for all environments or a sequence with one for
                each (``None``: drawn by seed).

        Raises:
            UsageError: An option is unknown or has the wrong length; the mask is empty.
            TypeError: The mask is not a boolean array, or a sample is not a ``Sample``.
            IndexError: An index is outside the data set.
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
            gymnasium.error.ResetNeeded: A mask leaves out an environment that was never reset.
        """
        self._refuse_if_closed("reset")
        self._refuse_while_outstanding("reset")
        options = dict(options or {})
        chosen = masked(options.pop("reset_mask", None), self.num_envs)
        left_out = set(range(self.num_envs)).difference(chosen)
        never = sorted(i for i in left_out if self._observations[i] is None)
        if never:
            raise gym.error.ResetNeeded(f"reset: environments {never} were never reset; begin with a reset of all")
        per_env = per_env_options(options, self.num_envs, self._num_samples)
        seeds = self._plan.start(chosen, seed)
        outcomes = self._run({i: Reset(seeds[i], per_env[i]) for i in chosen})
        infos: dict[str, Any] = {}
        for i in chosen:
            self._begin(i, outcomes[i])
            infos = self._add_info(infos, outcomes[i].info, i)
        return self._batched(), infos

    def step(
        self, actions: Sequence[Any]
    ) -> tuple[BatchedObservation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take one message of each policy.

        Args:
            actions: One action for each environment; not looked at where an episode is about to begin.

        Returns:
            Observations, rewards ``(num_envs,)`` ``float64``, terminations and truncations ``(num_envs,)`` ``bool``,
            and infos in Gymnasium's form: an array for each key, and a mask of who has it under ``"_" + key``.

        Raises:
            UsageError: There is not one action for each environment.
            TypeError: An action is none of those that ``VisualToolboxEnv.step`` takes.
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
            gymnasium.error.ResetNeeded: There is an action for an episode that has ended, and no autoreset.
        """
        self._refuse_if_closed("step")
        self._refuse_while_outstanding("step")
        commands, outcomes = self._commands(actions)
        outcomes |= self._run(commands)
        self._terminated[~self._done] = self._truncated[~self._done] = False
        rewards = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        restart = {i for i, outcome in outcomes.items() if outcome.done and same_step}
        for i in sorted(outcomes):
            outcome = outcomes[i]
            self._observations[i], rewards[i] = outcome.observation, outcome.reward
            self._terminated[i], self._truncated[i] = outcome.terminated, outcome.truncated
            info = {"final_obs": outcome.observation, "final_info": outcome.info} if i in restart else outcome.info
            infos = self._add_info(infos, info, i)
            self._done[i] = outcome.done and not same_step
        for i, outcome in self._run({i: Reset(self._plan.next(i)) for i in sorted(restart)}).items():
            self._observations[i] = outcome.observation
            self._keep_failed_reset(i, outcome)
            infos = self._add_info(infos, outcome.info, i)
        return self._batched(), rewards, self._terminated.copy(), self._truncated.copy(), infos

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return an attribute of each environment, or call it; ``None`` for one that failed and was not reset yet.

        Raises:
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
        """
        self._refuse_if_closed("call")
        values = self._call(name, args, kwargs)
        return tuple(values[i] for i in range(self.num_envs))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment; ``None`` for one that failed and was not reset yet."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment, also where it fails and is made anew.

        Args:
            name: Name of the attribute.
            values: A list or tuple with a value for each environment, or one for all.

        Raises:
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
            UsageError: There is not one value for each environment.
        """
        self._refuse_if_closed("set_attr")
        each = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise UsageError(
                f"set_attr: got {len(each)} values of {name!r} for {self.num_envs} environments; give one for each, or "
                "one for all that is no list or tuple"
            )
        self._set(name, dict(enumerate(each)))

    def render(self) -> tuple[Any, ...] | None:
        """Return what each environment renders."""
        return self.call("render")

    def close(self, **kwargs: Any) -> None:
        """Close the environments; what was sent and has not come back is given up."""
        self._closing = True
        if self._sender is not None:
            self._sender.shutdown(wait=False, cancel_futures=True)
        super().close(**kwargs)

    # --- in the background ---------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> frozenset[int]:
        """Environments that something was sent to which has not come back."""
        return frozenset(self._late).union(*(commands for commands, _ in self._sent))

    def send(self, commands: Mapping[int, Command]) -> None:
        """Begin a command for each of some environments and return at once; ``recv`` gives what comes of it.

        For callers that have something else to do meanwhile, such as writing the next messages. Seeds are the caller's,
        and nothing is reset by itself. A tool that takes long delays its own environment; others by no more than
        ``SEND_TIMEOUT``.

        Args:
            commands: ``Reset(seed, options)``, ``Step(action)`` or ``Truncate(stop)`` by id (index) of the environment.

        Raises:
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
            UsageError: An environment has not come back from what it was sent before.
        """
        self._refuse_if_closed("send")
        busy = sorted(self.outstanding.intersection(commands))
        if busy:
            raise UsageError(f"send: environments {busy} are still busy; recv() first")
        self._submit(dict(commands))

    def recv(self, timeout: float | None = None, *, oldest: bool = False) -> dict[int, Outcome]:
        """Wait for everything that was sent, but no longer than ``timeout`` seconds; return what has come back.

        Args:
            timeout: ``None`` waits as long as it takes.
            oldest: Wait for what was sent first only, and return no more than that.

        Raises:
            gymnasium.error.ClosedEnvironmentError: ``close`` was called.
            Exception: What an action of the wrong type, or actors that die again and again, raise.
        """
        self._refuse_if_closed("recv")
        until = None if timeout is None else time.monotonic() + timeout
        arrived: dict[int, Outcome] = {}
        while self._sent or self._late:
            if not self._sent:
                late, self._late = self._late, {}
                self._submit(late)
            left = None if until is None else max(0.0, until - time.monotonic())
            awaited = self._sent[:1] if oldest else self._sent
            wait_for_futures([future for _, future in awaited], left)
            arrived |= self._collected(awaited)
            if (oldest and arrived) or (until is not None and time.monotonic() >= until):
                break
        return arrived

    def _submit(self, commands: dict[int, Command]) -> None:
        self._sender = self._sender or ThreadPoolExecutor(1, thread_name_prefix="send")
        self._sent.append((commands, self._sender.submit(self._run, commands, SEND_TIMEOUT)))

    def _collected(self, awaited: Sequence[_Sent]) -> dict[int, Outcome]:
        """Return the outcomes of what has been executed, and remember who is late."""
        done = [entry for entry in awaited if entry[1].done()]
        collected = {id(future) for _, future in done}  # one that ends only now is for the next time
        self._sent = [entry for entry in self._sent if id(entry[1]) not in collected]
        arrived: dict[int, Outcome] = {}
        for commands, future in done:
            outcomes = future.result()
            arrived |= outcomes
            self._late |= {i: command for i, command in commands.items() if i not in outcomes}
        return arrived

    def _refuse_if_closed(self, method: str) -> None:
        if self.closed:
            raise gym.error.ClosedEnvironmentError(f"{method}: the environments were closed; make new ones")

    def _refuse_while_outstanding(self, method: str) -> None:
        if self.outstanding:
            raise UsageError(f"{method}: environments {sorted(self.outstanding)} are still busy; recv() first")

    # --- episodes ------------------------------------------------------------------------------------------------

    def _commands(self, actions: Sequence[Any]) -> tuple[dict[int, Command], dict[int, Outcome]]:
        """Return what to execute, and what is known already of episodes that failed before they began."""
        commands: dict[int, Command] = {}
        outcomes: dict[int, Outcome] = {}
        autoreset = self.autoreset_mode is AutoresetMode.NEXT_STEP
        for i, action in enumerate(self._checked(actions)):
            if self._done[i] and autoreset:
                commands[i] = Reset(self._plan.next(i))
            elif i in self._failed_resets:
                outcomes[i] = self._failed_resets.pop(i)
            elif action is not None:
                commands[i] = Step(action)
        return commands, outcomes

    def _run(self, commands: Mapping[int, Command], timeout: float | None = None) -> dict[int, Outcome]:
        # One member of each group goes first: it decodes the image while no other waits for the same one. Then group by
        # group, while the processor's cache holds the image.
        ordered = {i: commands[i] for i in sorted(commands, key=lambda i: (i % self.group_size > 0, i))}
        outcomes = self._execute(ordered, timeout) if ordered else {}
        return {i: self._completed(i, ordered[i], outcomes[i]) for i in ordered if i in outcomes}

    def _completed(self, i: int, command: Command, outcome: Outcome) -> Outcome:
        """Follow the trajectory of an environment, and add to ``info`` what the environment itself cannot."""
        if isinstance(command, Reset):
            self._running.pop(i, None)
            if "trajectory" in outcome.info:
                self._running[i] = Running.of(outcome.info["trajectory"])
            outcome = replace(outcome, info={**outcome.info, "seed": command.seed})
        elif "turn" in outcome.info:
            self._running[i].turns.append(outcome.info["turn"])
        if not outcome.done:
            return outcome
        running = self._running.pop(i, None)
        return _explained(outcome, running) if outcome.error else outcome

    def _begin(self, i: int, outcome: Outcome) -> None:
        self._observations[i] = outcome.observation
        self._terminated[i] = self._truncated[i] = self._done[i] = False
        self._keep_failed_reset(i, outcome)

    def _keep_failed_reset(self, i: int, outcome: Outcome) -> None:
        self._failed_resets.pop(i, None)
        if outcome.error:
            self._failed_resets[i] = outcome

    def _batched(self) -> BatchedObservation:
        space = self.single_observation_space
        return concatenate(space, self._observations, create_empty_array(space, self.num_envs))  # type: ignore[arg-type,return-value]

    # --- what the caller gave ------------------------------------------------------------------------------------

    def _checked(self, actions: Sequence[Any]) -> list[Any]:
        if isinstance(actions, str | Mapping) or not isinstance(actions, Iterable):
            raise UsageTypeError(f"step: got one {type(actions).__name__}; give a sequence of {self.num_envs} actions")
        listed = list(actions)
        if len(listed) != self.num_envs:
            raise UsageError(f"step: got {len(listed)} actions for {self.num_envs} environments; give one for each")
        if any(observation is None for observation in self._observations):
            raise gym.error.ResetNeeded("call reset() before step()")
        given = [i for i, action in enumerate(listed) if action is not None]
        for i in given:
            if not self._done[i] and not isinstance(listed[i], str | ToolCall | Mapping):
                raise UsageTypeError(
                    f"step: the action of environment {i} is {type(listed[i]).__name__}; give the policy's message "
                    "(str), a ToolCall, an assistant message (dict), or None to leave the environment as it is"
                )
        over = [i for i in given if self._done[i]]
        if over and self.autoreset_mode is AutoresetMode.DISABLED:
            raise gym.error.ResetNeeded(
                f"step: the episodes of environments {over} have ended; reset them with options={{'reset_mask': mask}} "
                "or give None as their actions"
            )
        return listed


def _explained(outcome: Outcome, running: Running | None) -> Outcome:
    """Return the outcome of a failure with what there is to say about it in ``info``."""
    info: dict[str, Any] = {**outcome.info, "error": outcome.error, "stop_reason": "error"}
    if running is not None:
        metadata = {**running.opening.metadata, "error": outcome.error}
        info["trajectory"] = running.trajectory(truncated=True, stop_reason="error", metadata=metadata)
    return replace(outcome, info=info)


def check_groups(num_envs: int, group_size: int) -> None:
    """Raise unless a number of environments can be divided into groups.

    Raises:
        UsageError: ``num_envs`` is no positive multiple of ``group_size``.
    """
    if group_size < 1 or num_envs < 1 or num_envs % group_size:
        raise UsageError(
            f"num_envs={num_envs}, group_size={group_size}: num_envs must be a positive multiple of group_size"
        )
