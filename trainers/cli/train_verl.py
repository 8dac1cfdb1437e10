"""``deepeyes train-verl``: train a policy in an environment with verl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepeyes_env.extras import needs_extra
from deepeyes_env.terminal import say


def train_verl(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, for example: model=DIR nodes=2 loop.max_turns=7"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of settings, or a preset: tiny, 7b, 32b, v2_7b or one_node_7b."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the whole command, and start nothing.")
    ] = False,
) -> None:
    """Train a policy with verl: by default the shipped tiny one, on this machine's CPU."""
    with needs_extra("verl"):
        from deepeyes_env.trainers.verl.command import start
        from deepeyes_env.trainers.verl.config import load_config
        from deepeyes_env.trainers.verl.plan import check
    plan = check(load_config(overrides or (), config))
    if dry_run:
        return say(plan.text())
    with needs_extra("verl"):
        import verl  # noqa: F401  # it is started in a process of its own
    start(plan.config)
    say(f"{plan.config.out}: metrics.jsonl, checkpoints")
