"""``deepeyes sft``: a cold start by supervised fine-tuning on transcripts, with TRL's ``SFTTrainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepeyes_env.extras import needs_extra
from deepeyes_env.terminal import say


def sft(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA... [KEY=VALUE]...",
            help="Run folders or data files (.json, .jsonl, .parquet) to imitate, and settings: model=DIR lora=16",
        ),
    ],
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Read and check everything, print examples and tokens; load no weights."),
    ] = False,
) -> None:
    """Teach a policy to write what transcripts hold: the right and clean ones of runs, or those of a data file."""
    with needs_extra("trl"):
        from deepeyes_env.trainers.sft import check, load_settings
    overrides = [each for each in arguments if "=" in each and not Path(each).exists()]
    sources = [Path(each).expanduser() for each in arguments if each not in overrides]
    plan = check(load_settings(overrides, config), sources)
    if dry_run:
        return say(plan.text())
    with needs_extra("trl"):
        from deepeyes_env.trainers.sft.run import run
    folder = run(plan)
    say(f"{folder} (trained on {len(plan.examples)} examples); deepeyes eval and deepeyes train take it as a model")
