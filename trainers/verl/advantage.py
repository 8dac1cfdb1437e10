"""Our advantage estimators in verl: ``deepeyes_`` and the names of ``OURS``.

verl's ``grpo`` divides the rounding of the mean by a deviation of nearly 0 where all rewards of a group are equal
(``deepeyes_env.trainers.algorithms.advantages``). Ours give exactly 0 there; and a rollout that failed, which has no
token under the mask, does not count in its group. A reward that verl puts on a token of an observation is not lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import torch
    from verl.trainer.ppo.core_algos import register_adv_est

from deepeyes_env.trainers.algorithms import AdvantageInputs, get_advantage

PREFIX = "deepeyes_"
"""Before the name of our estimator, which verl may have under the same one."""

OURS = ("grpo", "dr_grpo", "rloo", "reinforce_plus_plus")


def grouped_advantage(
    name: str, token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return advantages and returns by one of our estimators.

    Args:
        name: Name of the estimator.
        token_level_rewards: ``(B, L)``: an episode's reward is on one of its tokens, observations included.
        response_mask: ``(B, L)``: tokens that the policy wrote; a rollout without any stands in no group.
        index: ``(B,)``: equal for rollouts of the same question.
    """
    mask = response_mask.bool()
    _, groups = np.unique(np.asarray(index, dtype=str), return_inverse=True)
    failed = ~mask.any(1).numpy()
    groups[failed] = groups.max(initial=0) + 1 + np.arange(failed.sum())
    rewards = torch.zeros_like(token_level_rewards)
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(1)
    rewards[torch.arange(len(rewards)), last] = token_level_rewards.sum(1)
    with torch.no_grad():
        return get_advantage(name)(AdvantageInputs(rewards, mask, torch.from_numpy(groups)))


def register_in_verl(name: str) -> None:
    """Make one of our estimators, or one of a plugin, known to verl as ``deepeyes_NAME``.

    Args:
        name: Name under which ``register_advantage`` knows it.

    Raises:
        UnknownNameError: There is no such estimator.
    """
    get_advantage(name)

    def estimator(
        token_level_rewards: torch.Tensor, response_mask: torch.Tensor, index: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return grouped_advantage(name, token_level_rewards, response_mask, index)

    register_adv_est(f"{PREFIX}{name}")(estimator)


for _name in OURS:
    register_in_verl(_name)
