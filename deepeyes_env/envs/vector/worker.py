"""Worker: the end of a Ray vector environment that lives in an actor."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepeyes_env.envs.additions import Additions
from deepeyes_env.envs.tool_runner import hung_tools
from deepeyes_env.envs.vector.local import LocalEnvs
from deepeyes_env.envs.vector.messages import Command, EnvDescription, Outcome
from deepeyes_env.envs.vector.transport import PackedArrays, pack, strip
from deepeyes_env.registry import load_plugins

MAX_HUNG_TOOLS = 4
"""With so many threads in it that were left behind in tools, the process of an actor is replaced."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to make its environments.

    Attributes:
        env_kwargs: Keyword arguments of ``VisualToolboxEnv``.
        additions: What no plugin brings: toolboxes, which samples may name, and rubrics.
        group_size: How many environments play the same sample.
        num_threads: How many environments run at a time.
    """

    env_kwargs: Mapping[str, Any]
    additions: Additions
    group_size: int
    num_threads: int


class Worker:
    """Holds whole groups of environments; answers each vector step with one ``PackedArrays``."""

    def load(self, plugins: Sequence[str], path: Sequence[str]) -> None:
        """Load the plugins of the driver; what refers to their modules cannot be unpickled before.

        Args:
            plugins: What the driver loaded.
            path: Folders in which the driver finds modules.
        """
        sys.path.extend(folder for folder in path if folder not in sys.path)
        load_plugins(plugins)

    def start(self, config: WorkerConfig, env_ids: range) -> tuple[int, EnvDescription]:
        """Make the environments; not in ``__init__``, where Ray would hide the type of what they raise.

        Returns:
            The id of this process, and what the environments have in common.
        """
        config.additions.register()
        self._envs = LocalEnvs.open(
            env_ids, config.env_kwargs, group_size=config.group_size, num_threads=config.num_threads
        )
        return os.getpid(), self._envs.describe()

    def replay(self, logs: Mapping[int, Sequence[Command]]) -> None:
        """Bring environments to where those of a worker that died were: what follows from seeds and actions.

        Those without a log are let go until they are reset.
        """
        self._envs.keep(logs)
        for turn in range(max(map(len, logs.values()), default=0)):
            self._envs.run({i: log[turn] for i, log in logs.items() if turn < len(log)})

    def run(self, commands: Mapping[int, Command], timeout: float | None) -> PackedArrays:
        """Execute commands; returns the outcomes by environment, with a timeout those that are known by then.

        With too many hung tools in it this process ends instead: it is replaced as any that dies, and its environments
        go on in another.
        """
        if (hung := hung_tools()) >= MAX_HUNG_TOOLS:
            logger.error("%d tools of this process hang; it ends, to be replaced", hung)
            os._exit(1)  # nothing may wait for the tools
        envs = self._envs
        outcomes = envs.run(commands) if timeout is None else envs.run_with_timeout(commands, timeout)
        return self._packed({i: strip(outcome) for i, outcome in outcomes.items()})

    def _packed(self, outcomes: Mapping[int, Outcome]) -> PackedArrays:
        """Pack outcomes; an environment whose outcome cannot be packed has failed, and the others have not."""
        try:
            return pack(outcomes)
        except Exception:
            return pack({i: self._packable(i, outcome) for i, outcome in outcomes.items()})

    def _packable(self, i: int, outcome: Outcome) -> Outcome:
        try:
            pack(outcome)
        except Exception as error:
            logger.exception("what environment %d returned cannot be sent", i)
            self._envs.discard(i)
            return Outcome.failed(RuntimeError(f"what it returned cannot be sent: {str(error)[:200]}"), {})
        return outcome

    def call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PackedArrays:
        """Return an attribute of each environment, or call it."""
        return pack(self._envs.call(name, *args, **kwargs))

    def set(self, name: str, values: Mapping[int, Any]) -> PackedArrays:
        """Set an attribute of each environment."""
        self._envs.set(name, values)
        return pack({})

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()
