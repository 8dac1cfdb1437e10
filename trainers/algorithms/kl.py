"""Estimates of the divergence from a reference policy (Schulman, "Approximating KL divergence", 2020)."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch

from deepeyes_env.registry import unknown_name

KLEstimator: TypeAlias = Literal["k1", "k2", "k3", "abs", "k1+", "k3+"]
"""``k1``: the log ratio, unbiased. ``k2``: half its square. ``k3``: unbiased and never negative. ``abs``: its size.

``k1+`` and ``k3+`` have the value of ``k1`` and ``k3`` and the gradient of ``k2``. Over a policy's own samples the
gradient of ``k2`` is that of the divergence itself. That of ``k1`` is 0 on average, and that of ``k3`` is the gradient
of the divergence the other way round.
"""


def kl_divergence(logprobs: torch.Tensor, reference: torch.Tensor, estimator: KLEstimator = "k3+") -> torch.Tensor:
    """Return an estimate for each token; equal to verl 0.9.1's ``kl_penalty``.

    Args:
        logprobs: Of the policy, any shape.
        reference: Of the reference policy, the same shape.
        estimator: See ``KLEstimator``.

    Raises:
        UnknownNameError: The estimator is unknown.
    """
    if estimator not in get_args(KLEstimator):
        raise unknown_name("KL estimator", estimator, get_args(KLEstimator))
    ratio = logprobs - reference
    value = _value(ratio, estimator.removesuffix("+"))
    if not estimator.endswith("+"):
        return value
    squared = 0.5 * ratio**2
    return value.detach() + squared - squared.detach()


def _value(ratio: torch.Tensor, estimator: str) -> torch.Tensor:
    match estimator:
        case "k1":
            return ratio
        case "k2":
            return 0.5 * ratio**2
        case "abs":
            return ratio.abs()
    back = (-ratio).clamp(-20, 20)
    return (back.exp() - back - 1).clamp(-10, 10)
