"""DeepEyesTrainer: verl's synchronous trainer, with what our rollouts report among the metrics of a step.

verl 0.9 averages ``reward_extra_info`` in validation only. ``trainer.v1.trainer_mode=deepeyes`` adds ``deepeyes/NAME``
in training: means over the rollouts that did not fail, how many did, and how many workers have been replaced so far.

A step in which every rollout failed has no token to be trained on, and verl ends there. Here it is passed over.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    import transfer_queue
    from omegaconf import open_dict
    from verl.trainer.ppo.v1 import register_trainer
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from deepeyes_env.trainers.grpo.diagnosis import TrainingError
from deepeyes_env.trainers.verl.agent_loop import REPORT
from deepeyes_env.trainers.verl.report import FAILED

PREFIX = "deepeyes/"

PATIENCE = 600.0
"""Seconds that no rollout may be played before a run ends."""

logger = logging.getLogger(__name__)


@register_trainer("deepeyes")
class DeepEyesTrainer(PPOTrainerSync):
    """The synchronous trainer, which reports what was played and passes over steps in which nothing was.

    Args:
        config: verl's configuration.
    """

    def __init__(self, config: Any) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # which verl asks for in many places
        super().__init__(config=config)
        self._failing = Failing()

    def _balance_batch(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._balance_batch(batch, metrics=metrics)
        played = any(bool(mask.any()) for mask in _fetched(batch, batch.keys, "response_mask").unbind())
        self._failing.note(self.global_steps, played, [] if played else errors_of(batch))
        return batch

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._compute_old_log_prob(batch, metrics=metrics)

    def _compute_ref_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._compute_ref_log_prob(batch, metrics=metrics)

    def _compute_values(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._compute_values(batch, metrics=metrics)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._compute_advantage(batch, metrics=metrics)

    def _update_critic(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._update_critic(batch, metrics=metrics)

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._failing else super()._update_actor(batch, metrics=metrics)

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        result = None if self._failing else super()._compute_metrics(batch, metrics, *args, **kwargs)
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
    return [each["reward_extra_info"] for each in _extra_fields(batch) if "reward_extra_info" in each]


def errors_of(batch: Any) -> list[str]:
    """Return why rollouts of a step failed, of those that did."""
    return [error for each in _extra_fields(batch) if (error := each.get(REPORT, {}).get("error"))]


def _extra_fields(batch: Any) -> list[Mapping[str, Any]]:
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    return [getattr(each, "data", each) for each in _fetched(batch, keys, "extra_fields")]


def _fetched(batch: Any, keys: Sequence[str], field: str) -> Any:
    return transfer_queue.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=[field])[field]


class Failing:
    """Whether all rollouts of a step failed, and since when they do.

    Args:
        patience: Seconds after which they may no longer.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._since: float | None = None

    def __bool__(self) -> bool:
        return self._since is not None

    def note(self, step: int, played: bool, errors: Sequence[str]) -> None:
        """Note what became of a step.

        Args:
            step: Its number.
            played: Whether any rollout was played to its end.
            errors: Why the others failed.

        Raises:
            TrainingError: No rollout was played for too long.
        """
        if played:
            self._since = None
            return
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        told = "; ".join(f"{number} x {error}" for error, number in Counter(errors).most_common(3))
        logger.warning("step %d: every rollout failed, nothing is learned from it: %s", step, told)
        if now - self._since >= self._patience:
            raise TrainingError(
                f"no rollout was played for {now - self._since:.0f} seconds, up to step {step}: {told}; mend that, and "
                "go on from the last checkpoint"
            )


def rollout_metrics(reports: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over the rollouts that did not fail, and how many did."""
    finished = [report for report in reports if not report.get(FAILED)]
    failed = len(reports) - len(finished)
    metrics = {f"{PREFIX}rollouts/finished": float(len(finished)), f"{PREFIX}rollouts/failed": float(failed)}
    names = sorted({name for report in finished for name in report if name != FAILED})
    return metrics | {f"{PREFIX}{name}": fmean(report.get(name, 0.0) for report in finished) for name in names}
