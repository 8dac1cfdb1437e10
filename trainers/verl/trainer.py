"""DeepEyesTrainer: verl's synchronous trainer, with what our rollouts report among the metrics of a step.

verl 0.9 averages ``reward_extra_info`` in validation only. ``trainer.v1.trainer_mode=deepeyes`` adds ``deepeyes/NAME``
in training: means over the rollouts that did not fail, how many did, and how many workers have been replaced so far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import transfer_queue
    from omegaconf import open_dict
    from verl.trainer.ppo.v1 import register_trainer
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from deepeyes_env.trainers.verl.report import FAILED

PREFIX = "deepeyes/"


@register_trainer("deepeyes")
class DeepEyesTrainer(PPOTrainerSync):
    """The synchronous trainer; nothing but its metrics differs.

    Args:
        config: verl's configuration.
    """

    def __init__(self, config: Any) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # which verl asks for in many places
        super().__init__(config=config)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        result = super()._compute_metrics(batch, metrics, *args, **kwargs)
        self.add_metrics(batch, metrics)
        return result

    def add_metrics(self, batch: Any, metrics: dict[str, Any]) -> None:
        """Add what our rollouts report.

        Args:
            batch: The rollouts of the step, by their keys in the transfer queue.
            metrics: What verl has to say of the step.
        """
        metrics.update(rollout_metrics(reports_of(batch)))
        metrics[f"{PREFIX}workers/replaced"] = float(getattr(self.agent_loop_manager, "replaced", 0))


def reports_of(batch: Any) -> list[Mapping[str, float]]:
    """Return the reports of the rollouts of a step; those that pad it are left out."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    data = transfer_queue.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    extra_fields = (getattr(each, "data", each) for each in list(data["extra_fields"]))
    return [each["reward_extra_info"] for each in extra_fields if "reward_extra_info" in each]


def rollout_metrics(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over the rollouts that did not fail, and how many did."""
    finished = [report for report in reports if not report.get(FAILED)]
    failed = len(reports) - len(finished)
    metrics = {f"{PREFIX}rollouts/finished": float(len(finished)), f"{PREFIX}rollouts/failed": float(failed)}
    names = sorted({name for report in finished for name in report if name != FAILED})
    return metrics | {f"{PREFIX}{name}": fmean(report.get(name, 0.0) for report in finished) for name in names}
