"""Our own GRPO trainer on the tiny policy's task, a block of steps at a time as its parent asks.

python -m benchmarks.grpo_child SETTINGS.json-text
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.pace import Pace, Settings
from deepeyes_env.trainers.grpo.config import Config, load_config
from deepeyes_env.trainers.grpo.trainer import Trainer
from deepeyes_env.trainers.tracking import MetricsFile, TensorBoard


class PacedRecorder:
    """A recorder that waits for the parent between blocks of steps."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of a step; ends the run when the parent hangs up."""
        if step == 0:
            goes_on = self._pace.ready({name: version(name) for name in ("transformers", "torch", "ray")})
        else:
            goes_on = self._pace.ended(metrics["time/generate"] + metrics["time/wait"], metrics)
        if not goes_on:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing is left to write."""


def config(settings: Settings, out: str) -> Config:
    """Return our settings: the trainer's own, without evaluation and checkpoints."""
    return load_config(
        [
            f"model={settings.model}",
            f"out={out}",
            "steps=1000000",
            f"env.max_turns={settings.max_turns}",
            f"rollout.prompts={settings.prompts}",
            f"rollout.group_size={settings.group_size}",
            f"rollout.max_new_tokens={settings.max_new_tokens}",
            f"rollout.backend={settings.backend}",
            f"optim.lr={settings.lr}",
            f"optim.threads={settings.threads}",
            "evaluation.every=0",
            "evaluation.samples=0",
            "checkpoint.every=0",
        ],
        Path("tiny"),
    )


def main() -> None:
    """Train until the parent hangs up."""
    settings = Settings(**json.loads(sys.argv[1]))
    pace = Pace()
    with tempfile.TemporaryDirectory() as out:
        recorders = [
            MetricsFile(Path(out) / "metrics.jsonl"),
            TensorBoard(Path(out) / "tensorboard"),
            PacedRecorder(pace),
        ]
        trainer = Trainer(config(settings, out), recorders)
        try:
            trainer.train()
        finally:
            trainer.close()
            for recorder in recorders:
                recorder.close()


if __name__ == "__main__":
    main()
