"""Estimates of the divergence from a reference policy (Schulman, "Approximating KL divergence", 2020)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch

from deepeyes_env.registry import unknown_name

KLEstimator: TypeAlias = Literal["k1", "k2", "k3", "abs"]
"""``k1``: the log ratio, unbiased. ``k2``: half its square. ``k3``: unbiased and never negative. ``abs``: its size."""


def kl_divergence(logprobs: torch.Tensor, reference: torch.Tensor, estimator: KLEstimator = "k3") -> torch.Tensor:
    """Return an estimate for each token; equal to verl 0.9.1's ``kl_penalty``.

    Args:
        logprobs: Of the policy, any shape.
        reference: Of the reference policy, the same shape.
        estimator: See ``KLEstimator``.

    Raises:
        UnknownNameError: The estimator is unknown.
    """
    ratio = logprobs - reference
    match estimator:
        case "k1":
            return ratio
        case "k2":
            return 0.5 * ratio**2
        case "abs":
            return ratio.abs()
        case "k3":
            back = (-ratio).clamp(-20, 20)
            return (back.exp() - back - 1).clamp(-10, 10)
    raise unknown_name("KL estimator", estimator, get_args(KLEstimator))
