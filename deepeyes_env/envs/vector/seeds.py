"""Which seed each episode of each environment gets."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from deepeyes_env.errors import UsageError, UsageTypeError
from deepeyes_env.seeds import MAX_SEED

Seeds: TypeAlias = int | Sequence[int | None] | None
"""One seed for all environments, one for each, or none."""


class SeedPlan:
    """Hands out seeds so that the k-th episode of every member of a group is the same, whatever order they end in.

    The k-th episode (k = 0, 1, ...) of an environment since it was last seeded gets a seed that depends on nothing else
    than the seed given, its group and k. So nothing that happens in one environment shifts another, and one that lost
    an episode to an error is back in step with its group at the next.

    ============================  =======================================================
    Seed given to a reset         Seed of episode k of an environment of group g
    ============================  =======================================================
    one ``seed`` for all          drawn from ``np.random.SeedSequence((seed, g, k))``
    ``seeds[i]``, one for each    ``seeds[i]`` itself, then ``SeedSequence((seeds[i], k))``
    none                          goes on; before any was given, as if by a random seed
    ============================  =======================================================

    Args:
        num_envs: Number of environments.
        group_size: How many consecutive environments make a group.
    """

    def __init__(self, num_envs: int, group_size: int) -> None:
        self._groups = [i // group_size for i in range(num_envs)]
        entropy = int(np.random.SeedSequence().generate_state(1)[0])
        self._roots: list[tuple[int, ...]] = [(entropy, group) for group in self._groups]
        self._episodes = [-1] * num_envs

    def start(self, envs: Sequence[int], seeds: Seeds) -> dict[int, int]:
        """Return the seeds of the episodes that a ``reset`` of these environments begins.

        A reset of all environments without a seed begins, in each group, the first episode that no member has begun.

        Raises:
            UsageError: A seed is negative or above ``MAX_SEED``, or there is not one for each environment.
            TypeError: A seed is not an integer.
        """
        if seeds is None:
            if len(envs) == len(self._groups):
                self._align()
        elif isinstance(seeds, Sequence | np.ndarray):
            if len(seeds) != len(self._groups):
                raise UsageError(
                    f"reset: got {len(seeds)} seeds for {len(self._groups)} environments; give one for each"
                )
            self._restart({i: (_checked(seeds[i]),) for i in envs if seeds[i] is not None})
        else:
            seed = _checked(seeds)
            self._restart({i: (seed, self._groups[i]) for i in envs})
        return {i: self.next(i) for i in envs}

    def next(self, env: int) -> int:
        """Return the seed of the next episode of an environment."""
        self._episodes[env] = episode = self._episodes[env] + 1
        root = self._roots[env]
        if len(root) == 1 and episode == 0:
            return root[0]
        return int(np.random.SeedSequence((*root, episode)).generate_state(1)[0])

    def _restart(self, roots: dict[int, tuple[int, ...]]) -> None:
        for env, root in roots.items():
            self._roots[env], self._episodes[env] = root, -1

    def _align(self) -> None:
        latest = _latest(zip(self._groups, self._episodes, strict=True))
        self._episodes = [latest[group] for group in self._groups]


def _latest(episodes: Iterable[tuple[int, int]]) -> dict[int, int]:
    latest: dict[int, int] = {}
    for group, episode in episodes:
        latest[group] = max(episode, latest.get(group, -1))
    return latest


def _checked(seed: int | None) -> int:
    try:
        value = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise UsageTypeError(f"reset: seed {seed!r} is not an integer") from None
    if value < 0:
        raise UsageError(f"reset: seed {value} is negative; give a seed of 0 or more")
    if value > MAX_SEED:
        raise UsageError(f"reset: seed {value} is too large; give a seed of at most {MAX_SEED}")
    return value
