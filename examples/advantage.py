"""A custom advantage: one function, for this package's trainer and for verl.

deepeyes train --plugin examples/advantage.py algorithm.advantage=batch_scaled

export VERL_USE_EXTERNAL_MODULES=deepeyes_env.trainers.verl.register,examples.advantage
python -m verl.trainer.main_ppo algorithm.adv_estimator=deepeyes_batch_scaled ...
"""

from importlib.util import find_spec

import torch

from deepeyes_env.trainers.algorithms import AdvantageInputs, get_advantage, register_advantage


@register_advantage("batch_scaled")
def batch_scaled(inputs: AdvantageInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward against the group's mean, in units of the deviation over the batch (arXiv 2508.08221).

    A group in which all but one are wrong then counts no more than one that is half right. Rollouts without any token
    of the policy, those that failed, are left out.
    """
    centred, _ = get_advantage("dr_grpo")(inputs)
    scores = centred.sum(1) / inputs.mask.sum(1).clamp(min=1)
    spread = scores[inputs.mask.any(1)].std(correction=0)
    advantages = centred / (spread + 1e-6)
    return advantages, advantages


if find_spec("verl"):
    from deepeyes_env.trainers.verl.advantage import register_in_verl

    register_in_verl("batch_scaled")
