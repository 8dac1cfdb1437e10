"""ThreadVectorEnv: many environments in the threads of one process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gymnasium.vector import AutoresetMode

from deepeyes_env.envs.vector.base import BatchedVectorEnv, check_groups
from deepeyes_env.envs.vector.local import LocalEnvs
from deepeyes_env.envs.vector.messages import Command, Outcome
from deepeyes_env.errors import UsageError


class ThreadVectorEnv(BatchedVectorEnv):
    """Many environments in the threads of one process, sharing one ``ImageStore`` and one data set.

    An image is decoded once, however many environments show it. Decoding and resizing run in parallel; everything else
    is Python and does not, so threads beyond the number of cores help only with tools or judges that wait for a
    network. ``gym.make_vec(id, num_envs=n)`` makes one. See ``BatchedVectorEnv`` for how it behaves.

    Args:
        num_envs: Number of environments.
        group_size: How many consecutive environments play the same samples; see ``BatchedVectorEnv``.
        num_threads: How many environments run at a time; by default as many as there are cores.
        autoreset_mode: When to begin the next episode: an ``AutoresetMode`` or its value.
        **env_kwargs: Keyword arguments of ``VisualToolboxEnv``; Gymnasium's ``max_episode_steps`` lowers ``max_turns``.

    Raises:
        UsageError: ``num_envs`` is no positive multiple of ``group_size``, or there is no thread.
        Exception: Whatever the environments' configuration raises.
    """

    def __init__(
        self,
        num_envs: int = 1,
        group_size: int = 1,
        num_threads: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        **env_kwargs: Any,
    ) -> None:
        check_groups(num_envs, group_size)
        threads = (os.cpu_count() or 1) if num_threads is None else num_threads
        if threads < 1:
            raise UsageError(f"num_threads={threads}: must be at least 1")
        self._envs = LocalEnvs.open(range(num_envs), env_kwargs, group_size=group_size, num_threads=threads)
        super().__init__(self._envs.describe(), num_envs, group_size, autoreset_mode)

    def _execute(self, commands: Mapping[int, Command], timeout: float | None = None) -> dict[int, Outcome]:
        return self._envs.run(commands) if timeout is None else self._envs.run_with_timeout(commands, timeout)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int, Any]:
        return self._envs.call(name, *args, **kwargs)

    def _set(self, name: str, values: Mapping[int, Any]) -> None:
        self._envs.set(name, values)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end the threads."""
        self._envs.close()
