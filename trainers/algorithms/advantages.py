"""Advantage estimators: how much better than expected each token of an episode was.

All take ``AdvantageInputs`` and return ``(advantages, returns)``, both ``(B, L)`` and 0 outside the mask. L counts
policy tokens only; where a table has observation tokens in between, the mask leaves them out.

=========================  ==========================================================================================
``grpo``                   (R - mean of the group) / (std of the group + 1e-6); DeepSeekMath, arXiv 2402.03300
``dr_grpo``                R - mean of the group; Dr. GRPO, arXiv 2503.20783
``rloo``                   R - mean of the others of the group; arXiv 2402.14740
``reinforce_plus_plus``    discounted return, whitened over the batch; arXiv 2501.03262
``remax``                  return - reward of the greedy episode; ReMax, arXiv 2310.10505
``gae``                    generalised advantage estimation, whitened; arXiv 1506.02438; needs a value head
=========================  ==========================================================================================

Equal to verl 0.9.1's ``verl/trainer/ppo/core_algos.py`` where it has the same, with one difference: where all rewards
of a group are equal, ours are exactly 0. There verl's ``grpo`` divides the rounding of the mean by a deviation of
nearly 0, which makes -0.056 of eight rewards of 0.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from deepeyes_env.errors import UsageError
from deepeyes_env.registry import Registry
from deepeyes_env.trainers.algorithms.masked import masked_sum, masked_whiten


@dataclass(frozen=True, slots=True)
class AdvantageInputs:
    """What an estimator may look at.

    Attributes:
        rewards: ``(B, L)``: reward of each token; an episode's reward is on its last one.
        mask: ``(B, L)`` ``bool``: tokens that the policy wrote.
        groups: ``(B,)`` ``int64``: equal for episodes that answer the same question.
        values: ``(B, L)``: what the value head expected before each token; ``None`` without one.
        baselines: ``(B,)``: reward of the greedy episode of each one's group; ``None`` if none was played.
        gamma: Discount per token.
        lam: The lambda of GAE.
    """

    rewards: torch.Tensor
    mask: torch.Tensor
    groups: torch.Tensor
    values: torch.Tensor | None = None
    baselines: torch.Tensor | None = None
    gamma: float = 1.0
    lam: float = 1.0


Advantage: TypeAlias = Callable[[AdvantageInputs], tuple[torch.Tensor, torch.Tensor]]
"""Returns advantages and returns, both ``(B, L)``."""

ADVANTAGES: Registry[Advantage] = Registry("advantage estimator")
"""Every advantage estimator that has a name."""

register_advantage = ADVANTAGES.register
"""Make an advantage estimator known by a name, also as a decorator: ``@register_advantage("mine")``."""

get_advantage = ADVANTAGES.get
"""Return the advantage estimator of a name; see ``Registry.get``."""

EPSILON = 1e-6


def needs_values(name: str) -> bool:
    """Whether an estimator wants a value head: its function has the attribute ``needs_values``."""
    return getattr(get_advantage(name), "needs_values", False)


def needs_baselines(name: str) -> bool:
    """Whether an estimator wants a greedy episode in each group: its function has the attribute ``needs_baselines``."""
    return getattr(get_advantage(name), "needs_baselines", False)


@register_advantage("grpo")
def grpo(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward against the group's mean, in units of its unbiased standard deviation. A group of one keeps its reward."""
    scores = masked_sum(inputs.rewards, inputs.mask, 1)
    size, centred = _centred(scores, inputs.groups)
    spread = _group_means(centred**2, inputs.groups)[1] * size / (size - 1).clamp(min=1)
    scaled = torch.where(size == 1, scores / (1 + EPSILON), centred / (spread.sqrt() + EPSILON))
    return _on_tokens(scaled, inputs.mask)


@register_advantage("dr_grpo")
def dr_grpo(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward against the group's mean: no division by the deviation. A group of one keeps its reward."""
    scores = masked_sum(inputs.rewards, inputs.mask, 1)
    size, centred = _centred(scores, inputs.groups)
    return _on_tokens(torch.where(size == 1, scores, centred), inputs.mask)


@register_advantage("rloo")
def rloo(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward against the mean of the other members of the group. A group of one keeps its reward."""
    scores = masked_sum(inputs.rewards, inputs.mask, 1)
    size, centred = _centred(scores, inputs.groups)
    others = centred * size / (size - 1).clamp(min=1)
    return _on_tokens(torch.where(size == 1, scores, others), inputs.mask)


@register_advantage("reinforce_plus_plus")
def reinforce_plus_plus(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Discounted return of each token, whitened over the batch."""
    returns = torch.zeros_like(inputs.rewards)
    following = torch.zeros_like(inputs.rewards[:, 0])
    for token in reversed(range(inputs.rewards.shape[1])):
        here = inputs.mask[:, token].bool()
        following = torch.where(here, inputs.rewards[:, token] + inputs.gamma * following, following)
        returns[:, token] = torch.where(here, following, 0.0)
    return masked_whiten(returns, inputs.mask), returns


@register_advantage("remax")
def remax(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Return of each token against the reward of the group's greedy episode.

    Raises:
        UsageError: There are no baselines.
    """
    if inputs.baselines is None:
        raise UsageError("remax needs the reward of a greedy episode for each group: baselines")
    kept = torch.where(inputs.mask.bool(), inputs.rewards, 0.0)
    returns = torch.where(inputs.mask.bool(), kept.flip(1).cumsum(1).flip(1), 0.0)
    return torch.where(inputs.mask.bool(), returns - inputs.baselines[:, None], 0.0), returns


@register_advantage("gae")
def gae(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation over policy tokens, whitened; returns are the value head's targets.

    Raises:
        UsageError: There are no values.
    """
    if inputs.values is None:
        raise UsageError("gae needs the values of a value head")
    advantages = torch.zeros_like(inputs.rewards)
    following = last = torch.zeros_like(inputs.rewards[:, 0])
    for token in reversed(range(inputs.rewards.shape[1])):
        here, value = inputs.mask[:, token].bool(), inputs.values[:, token]
        error = inputs.rewards[:, token] + inputs.gamma * following - value
        last = torch.where(here, error + inputs.gamma * inputs.lam * last, last)
        following = torch.where(here, value, following)
        advantages[:, token] = torch.where(here, last, 0.0)
    returns = torch.where(inputs.mask.bool(), advantages + inputs.values, 0.0)
    return masked_whiten(advantages, inputs.mask), returns


gae.needs_values = True  # type: ignore[attr-defined]
remax.needs_baselines = True  # type: ignore[attr-defined]


def _centred(scores: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the size of each one's group, and its score less the group's mean, ``(B,)``.

    Scores are first counted from the group's lowest: the mean of equal ones is then 0, and not rounded.
    """
    _, member_of = torch.unique(groups, return_inverse=True)
    lowest = torch.full_like(scores, torch.inf).scatter_reduce(0, member_of, scores, "amin")
    above = scores - lowest[member_of]
    size, mean = _group_means(above, groups)
    return size, above - mean


def _group_means(scores: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the size and the mean of each one's group, ``(B,)``."""
    _, member_of = torch.unique(groups, return_inverse=True)
    size = torch.bincount(member_of).to(scores.dtype)
    total = torch.zeros_like(size).index_add(0, member_of, scores)
    return size[member_of], (total / size)[member_of]


def _on_tokens(scores: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    spread = torch.where(mask.bool(), scores[:, None], 0.0)
    return spread, spread


ADVANTAGES.protect()
