"""``deepeyes build-tiny``: build the tiny policy from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

from deepeyes_env.core import MAX_SEED
from deepeyes_env.extras import needs_extra


def build_tiny(
    out: Annotated[Path, typer.Option(help="Model directory to write; one built before is replaced.")] = Path("tiny"),
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of scenes, initial weights and examples.")] = 0,
) -> None:
    """Build the tiny policy that ships with the package, in a few minutes on two cores."""
    with needs_extra("train"):
        from deepeyes_env.trainers.tiny.build import build
    with Progress(console=Console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def report(stage: str, step: int, steps: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=steps)
            progress.update(bars[stage], completed=step)

        seconds = build(out, seed, report=report)
    typer.echo(f"built {out} in {seconds:.0f} s; train it with: deepeyes train --config tiny model={out}")
