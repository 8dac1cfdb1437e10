"""RayActor: a worker in a Ray actor, which can be replaced."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.envs.vector.messages import EnvDescription
from deepeyes_env.envs.vector.worker import Worker, WorkerConfig
from deepeyes_env.errors import UsageTypeError
from deepeyes_env.extras import import_extra
from deepeyes_env.registry import loaded_plugins

logger = logging.getLogger(__name__)

WAIT_SECONDS = 30
"""After how long it is said that an actor has not started yet."""


class RayActor:
    """One actor, and what it takes to replace it.

    Attributes:
        env_ids: Ids of the environments that live in it.
        handle: Ray's handle of the actor.
        pid: Its process id; known once ``wait`` has returned.

    Args:
        env_ids: Ids of the environments that live in it.
        config: A reference to the ``WorkerConfig``.
        options: Ray options of the actor.
    """

    def __init__(self, env_ids: range, config: Any, options: Mapping[str, Any]) -> None:
        self.env_ids = env_ids
        self._config = config
        self._options = options
        self._start()

    def _start(self) -> None:
        self.handle = get_ray().remote(**self._options)(Worker).remote()
        self._loaded = self.handle.load.remote(loaded_plugins(), [str(Path(folder).absolute()) for folder in sys.path])
        self._started = self.handle.start.remote(self._config, self.env_ids)

    def wait(self) -> EnvDescription:
        """Wait until it is up, and return what its environments have in common."""
        if not get_ray().wait([self._started], timeout=WAIT_SECONDS)[0]:
            logger.warning(
                "the actor of environments %s has not started; it waits for %s, and free are %s: close other actors, "
                "or give fewer num_actors or other actor_options",
                *(self.env_ids, self._options, get_ray().available_resources()),
            )
        wait_for(self._loaded)
        description: EnvDescription
        self.pid, description = wait_for(self._started)
        return description

    def replace(self) -> None:
        """Start another in its place."""
        get_ray().kill(self.handle)
        self._start()
        self.wait()

    def submit(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """Call a method; returns the reference of its result."""
        return getattr(self.handle, method).remote(*arguments)


def get_ray() -> Any:
    """Import Ray.

    Raises:
        MissingExtraError: It is not installed.
    """
    return import_extra("ray", "ray")


def actor_errors() -> tuple[type[Exception], ...]:
    """Return the errors by which a call says that its actor, or what it returned, is gone."""
    from ray import exceptions

    return (exceptions.RayActorError, exceptions.ObjectLostError, exceptions.OutOfMemoryError)


def wait_for(answer: Any) -> Any:
    """Wait for a result; what the worker raised is raised here as it was."""
    ray = get_ray()
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def send(config: WorkerConfig) -> Any:
    """Put the configuration where all actors can read it; functions and classes of ``__main__`` travel with it.

    Raises:
        UsageTypeError: Something in it cannot be pickled; the message names the argument, toolbox or rubric.
    """
    ray = get_ray()
    try:
        return ray.put(config)
    except Exception as error:
        raise _unsendable(config, error) from error


def _unsendable(config: WorkerConfig, error: Exception) -> UsageTypeError:
    """Return the error that names the first argument, toolbox or rubric that cannot be pickled, and says why."""
    culprit, reason = "the configuration", error
    for name, value in {**config.env_kwargs, **config.additions.toolboxes, **config.additions.rubrics}.items():
        try:
            get_ray().cloudpickle.dumps(value)
        except Exception as own:  # Ray's own error would show the whole configuration
            culprit, reason = repr(name), own
            break
    return UsageTypeError(
        f"{culprit} cannot be sent to the actors: {reason!s:.200}; give what can be pickled, or register it in a file "
        "of its own and load that with --plugin or load_plugins, as actors do themselves"
    )
