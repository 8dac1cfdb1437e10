"""Masked sums, means and whitening. Values outside the mask have no influence, not even NaN."""

from __future__ import annotations

import torch


def masked_sum(values: torch.Tensor, mask: torch.Tensor, dim: int | None = None) -> torch.Tensor:
    """Return the sum of the selected values, over all of a tensor or one dimension."""
    kept = torch.where(mask.bool(), values, 0.0)
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean of the selected values; 0 if there are none."""
    return masked_sum(values, mask) / mask.sum().clamp(min=1)


def masked_whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values shifted and scaled to mean 0 and (unbiased) variance 1 over the mask, and 0 outside it.

    A single value becomes 0, and so do equal ones, exactly: values are first counted from the lowest, which leaves
    nothing of them to round.
    """
    count = mask.sum()
    above = values - torch.where(mask.bool(), values, torch.inf).min()
    centred = torch.where(mask.bool(), above - masked_mean(above, mask), 0.0)
    variance = (centred**2).sum() / (count - 1).clamp(min=1)
    return centred * torch.rsqrt(variance + 1e-8)
