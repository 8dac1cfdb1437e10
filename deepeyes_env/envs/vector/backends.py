"""Vector environments by the name of where they live: in threads, in Ray actors, or wherever a user's own does."""

from __future__ import annotations

from typing import Any, Protocol

from gymnasium.vector import AutoresetMode

from deepeyes_env.envs.toolbox import registered_kwargs
from deepeyes_env.envs.vector.base import BatchedVectorEnv
from deepeyes_env.envs.vector.ray import RayVectorEnv
from deepeyes_env.envs.vector.thread import ThreadVectorEnv
from deepeyes_env.registry import Registry

THREADS, RAY = "threads", "ray"


class Backend(Protocol):
    """Makes many environments at once."""

    def __call__(
        self,
        num_envs: int,
        *,
        group_size: int,
        workers: int | None,
        spare_cpus: int,
        autoreset_mode: AutoresetMode,
        **env_kwargs: Any,
    ) -> BatchedVectorEnv:
        """Make the environments; see ``make_vector_env`` for the arguments, of which ``env_kwargs`` has the toolbox."""
        ...


BACKENDS: Registry[Backend] = Registry("backend")
"""What makes vector environments, by name."""

register_backend = BACKENDS.register
"""Make a vector backend known by a name, also as a decorator: ``@register_backend("mine")``."""


def make_vector_env(
    backend: str,
    toolbox: str,
    num_envs: int,
    *,
    group_size: int = 1,
    workers: int | None = None,
    spare_cpus: int = 0,
    autoreset_mode: AutoresetMode = AutoresetMode.NEXT_STEP,
    **env_kwargs: Any,
) -> BatchedVectorEnv:
    """Make many environments at once.

    Args:
        backend: One of ``BACKENDS``.
        toolbox: An environment id; its registered keyword arguments apply.
        num_envs: Number of environments.
        group_size: How many consecutive environments play the same samples; see ``BatchedVectorEnv``.
        workers: Over how many threads or processes they are spread; by default what the backend finds fitting.
        spare_cpus: How many CPUs are left to the caller, where the backend shares them out.
        autoreset_mode: When to begin the next episode.
        **env_kwargs: Keyword arguments of ``VisualToolboxEnv``.

    Raises:
        UnknownNameError: No backend has that name; the message has the nearest one.
        Exception: Whatever the environments' configuration raises.
    """
    return BACKENDS.get(backend)(
        num_envs,
        group_size=group_size,
        workers=workers,
        spare_cpus=spare_cpus,
        autoreset_mode=autoreset_mode,
        **{**registered_kwargs(toolbox), **env_kwargs},
    )


@register_backend(THREADS)
def _threads(num_envs: int, *, workers: int | None, spare_cpus: int, **kwargs: Any) -> BatchedVectorEnv:
    return ThreadVectorEnv(num_envs, num_threads=workers, **kwargs)


@register_backend(RAY)
def _ray(num_envs: int, *, workers: int | None, **kwargs: Any) -> BatchedVectorEnv:
    return RayVectorEnv(num_envs=num_envs, num_actors=workers, **kwargs)


BACKENDS.protect()
