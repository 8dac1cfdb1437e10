"""``deepeyes train-trl``: train a policy in an environment with TRL's ``GRPOTrainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepeyes_env.extras import needs_extra
from deepeyes_env.terminal import say


def train_trl(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, for example: model=DIR lora=16 grpo.beta=0.01"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the full configuration, and load nothing.")
    ] = False,
) -> None:
    """Train a policy with TRL: by default the shipped tiny one, with TRL's own loop around our environment."""
    with needs_extra("trl"):
        from deepeyes_env.trainers.trl.config import load_config
        from deepeyes_env.trainers.trl.plan import check
    plan = check(load_config(overrides or (), config))
    if dry_run:
        return say(plan.text())
    with needs_extra("trl"):
        from deepeyes_env.trainers.trl.run import run
    folder = run(plan)
    say(f"{folder} (trained with TRL); deepeyes eval and deepeyes train take it as a model")
