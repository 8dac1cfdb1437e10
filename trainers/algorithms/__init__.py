"""Advantage estimators, policy losses, loss aggregation and KL estimators: plain functions on tensors.

Users add their own with ``register_advantage`` and ``register_policy_loss``.
"""

from deepeyes_env.extras import needs_extra

with needs_extra("train"):
    import torch  # noqa: F401  # the modules below begin with it

from deepeyes_env.trainers.algorithms.advantages import (
    ADVANTAGES,
    AdvantageInputs,
    get_advantage,
    needs_baselines,
    needs_values,
    register_advantage,
)
from deepeyes_env.trainers.algorithms.aggregation import Aggregation, Totals, aggregate
from deepeyes_env.trainers.algorithms.kl import KLEstimator, kl_divergence
from deepeyes_env.trainers.algorithms.losses import (
    POLICY_LOSSES,
    LossSettings,
    PolicyLoss,
    get_policy_loss,
    register_policy_loss,
    value_loss,
)

__all__ = [
    "ADVANTAGES",
    "POLICY_LOSSES",
    "AdvantageInputs",
    "Aggregation",
    "KLEstimator",
    "LossSettings",
    "PolicyLoss",
    "Totals",
    "aggregate",
    "get_advantage",
    "get_policy_loss",
    "kl_divergence",
    "needs_baselines",
    "needs_values",
    "register_advantage",
    "register_policy_loss",
    "value_loss",
]
