"""Policy losses per token; ``deepeyes_env.trainers.algorithms.aggregation`` reduces them to one number.

=================  ==================================================================================================
``ppo``            clipped ratio (PPO, arXiv 1707.06347), with bounds of their own below and above (clip-higher: DAPO,
                   arXiv 2503.14476) and dual clip (arXiv 1912.09729)
``gspo``           clipped ratio of the whole sequence (GSPO, arXiv 2507.18071)
``reinforce``      - advantage x log-probability (Williams, 1992)
=================  ==================================================================================================

Equal to verl 0.9.1's ``verl/trainer/ppo/core_algos.py`` where it has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from deepeyes_env.registry import Registry
from deepeyes_env.trainers.algorithms.masked import masked_mean, masked_sum


@dataclass(frozen=True, slots=True)
class LossSettings:
    """Settings of the policy losses.

    Attributes:
        clip_low: How far the probability ratio may fall below 1.
        clip_high: How far it may rise above 1.
        dual_clip: Largest ratio that counts where the advantage is negative; more than 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float = 3.0


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A policy loss.

    Attributes:
        per_token: ``(B, L)``; finite outside the mask.
        metrics: Means over the mask: ``clip_fraction``, ``dual_clip_fraction``, ``old_kl``.
    """

    per_token: torch.Tensor
    metrics: Mapping[str, float]


PolicyLossFunction: TypeAlias = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, LossSettings], PolicyLoss
]
"""Takes old log-probabilities, log-probabilities, advantages and mask, all ``(B, L)``, and the settings."""

POLICY_LOSSES: Registry[PolicyLossFunction] = Registry("policy loss")
"""Every policy loss that has a name."""

register_policy_loss = POLICY_LOSSES.register
"""Make a policy loss known by a name, also as a decorator: ``@register_policy_loss("mine")``."""

get_policy_loss = POLICY_LOSSES.get
"""Return the policy loss of a name; see ``Registry.get``."""

_LARGEST = 20.0


@register_policy_loss("ppo")
def ppo(
    old: torch.Tensor, new: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, settings: LossSettings
) -> PolicyLoss:
    """Clipped surrogate with dual clip."""
    difference = _difference(old, new, mask)
    ratio = difference.clamp(-_LARGEST, _LARGEST).exp()
    loss, clipped = _clipped(ratio, advantages, settings)
    bound = -advantages * settings.dual_clip
    bounded = torch.where(advantages < 0, torch.minimum(loss, bound), loss)
    dual = (loss > bound) & (advantages < 0)
    return PolicyLoss(bounded, _metrics(difference, mask, clipped, dual))


@register_policy_loss("gspo")
def gspo(
    old: torch.Tensor, new: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, settings: LossSettings
) -> PolicyLoss:
    """Clipped surrogate of the sequence's ratio, its geometric mean over tokens, with the gradient of each token."""
    difference = _difference(old, new, mask)
    length = mask.sum(1).clamp(min=1)
    of_sequence = (masked_sum(difference, mask, 1) / length).detach()[:, None]
    own = torch.where(mask.bool(), new - new.detach(), 0.0)
    ratio = (own + of_sequence).clamp(max=10.0).exp()
    loss, clipped = _clipped(ratio, advantages, settings)
    return PolicyLoss(loss, _metrics(difference, mask, clipped, torch.zeros_like(clipped)))


@register_policy_loss("reinforce")
def reinforce(
    old: torch.Tensor, new: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor, settings: LossSettings
) -> PolicyLoss:
    """Plain policy gradient; the ratio plays no part."""
    loss = -advantages * torch.where(mask.bool(), new, 0.0)
    nothing = torch.zeros_like(mask, dtype=torch.bool)
    return PolicyLoss(loss, _metrics(_difference(old, new, mask), mask, nothing, nothing))


def value_loss(
    old: torch.Tensor, new: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, clip: float = 0.5
) -> torch.Tensor:
    """Return half the squared error of values ``(B, L)``, the larger of plain and clipped around the old ones (PPO)."""
    near = new.clamp(old - clip, old + clip)
    return torch.where(mask.bool(), 0.5 * torch.maximum((new - returns) ** 2, (near - returns) ** 2), 0.0)


def _difference(old: torch.Tensor, new: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask.bool(), new - old, 0.0)


def _clipped(
    ratio: torch.Tensor, advantages: torch.Tensor, settings: LossSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pessimistic surrogate, and where the clipped one was taken."""
    plain = -advantages * ratio
    held = -advantages * ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    return torch.maximum(plain, held), held > plain


def _metrics(
    difference: torch.Tensor, mask: torch.Tensor, clipped: torch.Tensor, dual: torch.Tensor
) -> dict[str, float]:
    with torch.no_grad():
        return {
            "clip_fraction": float(masked_mean(clipped.float(), mask)),
            "dual_clip_fraction": float(masked_mean(dual.float(), mask)),
            "old_kl": float(masked_mean(-difference, mask)),
        }


POLICY_LOSSES.protect()
