"""``deepeyes ablate``: the paper's comparison of rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markdown import Markdown

from deepeyes_env.extras import needs_extra
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.telling import printable
from deepeyes_env.terminal import console, say
from deepeyes_env.trainers.cli.train import quiet_transformers


def ablate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, as for deepeyes train; out=runs/ablation by default."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, or a preset.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each arm is trained with.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The first of them.")] = 0,
) -> None:
    """Train with no tool bonus, an unconditional or a conditional one, with and without a per-call penalty; compare.

    Runs that are already in the folder are resumed, or skipped if they are complete.
    """
    with needs_extra("train"):
        from deepeyes_env.trainers.grpo.ablate import ablate as compare
        from deepeyes_env.trainers.grpo.config import Config, load_config
    quiet_transformers()
    settings = load_config(overrides or (), config)
    if settings.out == Config().out:
        settings = settings.model_copy(update={"out": Path("runs/ablation")})
    try:
        path = compare(settings, range(first_seed, first_seed + seeds))
    except KeyboardInterrupt:
        say("stopped; run the same command again to resume", err=True)
        raise typer.Exit(130) from None
    console().print(Markdown(printable(path.read_text(encoding="utf-8"))))
    say(f"{path}, {path.with_suffix('.png')}")
