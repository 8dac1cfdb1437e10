"""Batch: finished episodes as what a learner takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.trainers.grpo.rollouts import PlayedEpisode


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes of one step.

    Attributes:
        sequences: Their tokens.
        rewards: ``(B,)`` ``float32``: total reward of each.
        groups: ``(B,)`` ``int64``: which ones answer the same question; members are neighbours.
        baselines: ``(B,)`` ``float32``: reward of the group's greedy episode, for estimators that want one.
        overlong: ``(B,)`` ``bool``: which ones were cut off, for the overlong filter; ``None``: none.
    """

    sequences: tuple[TokenSequence, ...]
    rewards: NDArray[np.float32]
    groups: NDArray[np.int64]
    baselines: NDArray[np.float32] | None = None
    overlong: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def width(self) -> int:
        """Most policy tokens in an episode."""
        return max((int(tokens.mask.sum()) for tokens in self.sequences), default=0)

    def completion_mask(self) -> torch.Tensor:
        """Return the completion mask ``(B, width)`` ``bool``: which columns of the tensors of policy tokens hold one.

        Tensors of policy tokens hold, for each episode, its policy tokens one after another from the left.
        """
        counts = torch.tensor([int(tokens.mask.sum()) for tokens in self.sequences])
        return torch.arange(self.width)[None, :] < counts[:, None]

    def sampled_logprobs(self, rows: Sequence[int], width: int) -> torch.Tensor:
        """Return ``(rows, width)`` ``float32``: log-probabilities at sampling time of some rows' policy tokens."""
        table = torch.zeros(len(rows), width)
        for number, row in enumerate(rows):
            tokens = self.sequences[row]
            values = tokens.logprobs[tokens.mask]
            table[number, : len(values)] = torch.from_numpy(values)
        return table

    def minibatches(self, number: int, shuffle: np.random.Generator) -> Iterator[list[int]]:
        """Divide the rows into minibatches of whole groups, in random order."""
        groups = np.unique(self.groups)
        order = shuffle.permutation(groups) if number > 1 else groups
        for part in np.array_split(order, min(number, len(order))):
            yield [int(row) for group in part for row in np.flatnonzero(self.groups == group)]


def make_batch(
    policy: VisionPolicy, rollouts: Sequence[PlayedEpisode], *, greedy_first: bool = False, ungrouped: bool = False
) -> Batch:
    """Return what can be learned from: episodes with a reward, in groups of two or more.

    Args:
        policy: Whose tokens they are made of.
        rollouts: Episodes, group by group.
        greedy_first: The greedy episode of each group is its baseline and not learned from.
        ungrouped: Advantages do not compare the episodes of a group: a group of one counts too.
    """
    usable = [(each.spec, each.finished) for each in rollouts if each.finished is not None]
    baselines = {spec.group: trajectory.reward for spec, trajectory in usable if spec.greedy}
    if greedy_first:
        usable = [(spec, each) for spec, each in usable if not spec.greedy and spec.group in baselines]
    sizes = Counter(spec.group for spec, _ in usable)
    usable = [(spec, each) for spec, each in usable if sizes[spec.group] > 1 or greedy_first or ungrouped]
    trajectories = [trajectory for _, trajectory in usable]
    groups = np.array([spec.group for spec, _ in usable], np.int64)
    return Batch(
        tuple(policy.chat.sequence(trajectory) for trajectory in trajectories),
        np.array([trajectory.reward for trajectory in trajectories], np.float32),
        groups,
        np.array([baselines[group] for group in groups.tolist()], np.float32) if greedy_first else None,
        np.array([trajectory.overlong for trajectory in trajectories], np.bool_),
    )
