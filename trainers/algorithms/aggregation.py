"""Loss aggregation: the losses of all tokens, reduced to one number.

Each mode divides by a count of the whole batch, which the caller gives: then the sum over micro-batches is the loss of
the batch, however it was divided. Equal to verl 0.9.1's ``agg_loss``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from deepeyes_env.registry import unknown_name
from deepeyes_env.trainers.algorithms.masked import masked_sum

Aggregation: TypeAlias = Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
"""``token-mean``: every token of the batch weighs the same (DAPO, arXiv 2503.14476). ``seq-mean-token-sum``: sum over
an episode, mean over episodes. ``seq-mean-token-mean``: every episode weighs the same (GRPO, arXiv 2402.03300).
``seq-mean-token-sum-norm``: the sum divided by a constant length (Dr. GRPO, arXiv 2503.20783)."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of a whole batch.

    Attributes:
        tokens: Tokens in the mask.
        sequences: Episodes with at least one.
        length: The constant length of ``seq-mean-token-sum-norm``: equal for all batches of a run, or long episodes
            would weigh less in theirs.
    """

    tokens: int
    sequences: int
    length: int

    @classmethod
    def of(cls, mask: torch.Tensor, length: int | None = None) -> Totals:
        """Count a mask ``(B, L)``; the constant length is L unless another is given."""
        return cls(int(mask.sum()), int(mask.any(1).sum()), length or mask.shape[1])


def aggregate(losses: torch.Tensor, mask: torch.Tensor, mode: Aggregation, totals: Totals) -> torch.Tensor:
    """Return the share of a micro-batch in the loss of its batch.

    Args:
        losses: ``(b, L)``.
        mask: ``(b, L)`` ``bool``.
        mode: See ``Aggregation``.
        totals: Counts of the whole batch.

    Raises:
        UnknownNameError: The mode is unknown.
    """
    tokens, sequences = max(1, totals.tokens), max(1, totals.sequences)
    if mode == "token-mean":
        return masked_sum(losses, mask) / tokens
    of_sequence = masked_sum(losses, mask, 1)
    if mode == "seq-mean-token-sum":
        return of_sequence.sum() / sequences
    if mode == "seq-mean-token-mean":
        return (of_sequence / mask.sum(1).clamp(min=1)).sum() / sequences
    if mode == "seq-mean-token-sum-norm":
        return of_sequence.sum() / sequences / totals.length
    raise unknown_name("aggregation", mode, get_args(Aggregation))
