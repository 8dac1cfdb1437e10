"""Schedule: how the learning rate changes over a run."""

from __future__ import annotations

import math

from deepeyes_env.trainers.grpo.sections import Schedule


def lr_factor(schedule: Schedule, step: int, warmup: int, total: int) -> float:
    """Return what the learning rate is multiplied by in an optimizer step.

    Args:
        schedule: How it goes on after warm-up: to 0 in the step after the last one, but for ``constant``.
        step: Which step, from 1.
        warmup: Steps of linear warm-up.
        total: Optimizer steps of the whole run.
    """
    warm = min(1.0, step / max(1, warmup))
    if schedule == "constant" or step <= warmup:
        return warm
    done = min(1.0, (step - warmup) / (max(total, step) + 1 - warmup))
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
