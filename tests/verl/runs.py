"""Training runs of unmodified verl on this machine's CPU: its own command, our modules, the shipped tiny policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deepeyes_env.trainers.verl.command import MODULE, agents_file, agents_text, overrides, variables
from deepeyes_env.trainers.verl.config import TINY, VerlConfig, load_config

HERE = Path(__file__).parent
SITE = HERE.parent / "servers" / "site"
"""Lets torchvision be imported beside a CPU build of torch."""

SPY = "deepeyes_verl_spy"
"""In ``modules/``: the trainer ``spy``, which writes down what it trains on."""


@dataclass(frozen=True)
class Step:
    """A step of training, as the trainer itself wrote it down.

    Attributes:
        number: Its number, from 1.
        rows: What was trained on, rollout by rollout.
        metrics: What verl logged.
    """

    number: int
    rows: list[dict]
    metrics: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A training run of the preset ``tiny``, as ``deepeyes train-verl`` starts it.

    Attributes:
        out: Its folder.
        steps: How many steps.
        seed: Of the scenes, their order, and what is sampled.
        settings: Further settings, as ``deepeyes train-verl`` takes them.
        timeout: Seconds after which it is given up.
    """

    out: Path
    steps: int
    seed: int = 0
    settings: tuple[str, ...] = ()
    timeout: int = 3600

    def play(self) -> list[Step]:
        """Run it; returns its steps."""
        self.out.mkdir(parents=True, exist_ok=True)
        config = self._config()
        agents_file(config).write_text(agents_text(config), encoding="utf-8")
        command = [sys.executable, "-W", "ignore", "-m", MODULE, *overrides(config)]
        with (self.out / "log.txt").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                command,
                cwd=self.out,
                env=self._variables(config),
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=self.timeout,
            )
        assert done.returncode == 0, (self.out / "log.txt").read_text(encoding="utf-8", errors="replace")[-4000:]
        lines = (self.out / "spy.jsonl").read_text(encoding="utf-8").splitlines()
        return [Step(each["step"], each["rows"], each["metrics"]) for each in map(json.loads, lines)]

    @property
    def validations(self) -> list[dict[str, float]]:
        """What verl's file logger wrote of each validation, in order."""
        lines = (self.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        logged = map(json.loads, lines)
        return [each["data"] for each in logged if any(name.startswith("val-") for name in each["data"])]

    def _config(self) -> VerlConfig:
        given = [
            f"out={self.out}",
            f"steps={self.steps}",
            f"seed={self.seed}",
            f"plugins=[{SPY}]",
            f"loop.record={self.out / 'episodes'}",
            "verl.trainer.v1.trainer_mode=spy",
        ]
        return load_config([*given, *self.settings], Path(TINY))

    def _variables(self, config: VerlConfig) -> dict[str, str]:
        return {
            **os.environ,
            **variables(config),
            "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(SITE), str(HERE / "modules")]),
            "DEEPEYES_SPY": str(self.out / "spy.jsonl"),
            "HYDRA_FULL_ERROR": "1",
            "WANDB_MODE": "disabled",
        }
