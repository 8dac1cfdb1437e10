"""Batch: finished episodes as what a learner takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.sequence import TokenSequence


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes of one step.

    Attributes:
        sequences: Their tokens.
        rewards: ``(B,)`` ``float32``: total reward of each.
        groups: ``(B,)`` ``int64``: which ones answer the same question; members are neighbours.
        baselines: ``(B,)`` ``float32``: reward of the group's greedy episode, for estimators that want one.
    """

    sequences: tuple[TokenSequence, ...]
    rewards: NDArray[np.float32]
    groups: NDArray[np.int64]
    baselines: NDArray[np.float32] | None = None

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
