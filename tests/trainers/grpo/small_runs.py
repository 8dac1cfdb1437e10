"""Runs that take a fraction of a second."""

from __future__ import annotations

from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.trainer import Trainer

SMALL = (
    "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=3", "evaluation.samples=4",
    "evaluation.every=0", "checkpoint.every=0", "steps=1",
)  # fmt: skip


def config(out, *overrides):
    return load_config([*SMALL, f"out={out}", *overrides])


def trained(out, *overrides, resume=False, recorders=(), spoil=None):
    """A trainer that has run to its end, closed."""
    trainer = Trainer(config(out, *overrides), recorders, resume=resume)
    if spoil:
        spoil(trainer)
    try:
        trainer.train()
    finally:
        trainer.close()
    return trainer


class RecordedRows(list):
    """A recorder that keeps the metrics of each step."""

    def record(self, step, metrics):
        self.append({"step": step, **metrics})

    def close(self):
        """Nothing is left to write."""
