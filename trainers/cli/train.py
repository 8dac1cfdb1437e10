"""``deepeyes train``: train a policy in an environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from deepeyes_env.extras import needs_extra
from deepeyes_env.terminal import console, say
from deepeyes_env.trainers.tracking import names

if TYPE_CHECKING:
    from deepeyes_env.trainers.grpo.config import Config


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, for example: steps=200 rollout.prompts=16"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings, or a preset: tiny or qwen2_5_vl.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint in OUT, with its settings.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run that OUT holds.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Print where the time goes.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the memory that the run will take, by stage; load and train nothing.")
    ] = False,
    memory: Annotated[
        float | None, typer.Option(help="With --plan: gigabytes of the GPU to plan for; by default this machine's.")
    ] = None,
    list_settings: Annotated[
        bool, typer.Option("--list-settings", help="List all settings with their types and values; train nothing.")
    ] = False,
) -> None:
    """Train a policy with GRPO: by default the shipped tiny one on the built-in task, on a laptop."""
    with needs_extra("train"):
        from deepeyes_env.trainers.grpo.config import load_config
        from deepeyes_env.trainers.grpo.run import COMPARISON, METRICS, SETTINGS, run
        from deepeyes_env.trainers.tracking import read_metrics
    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    if resume and config is not None:
        raise typer.BadParameter("--resume keeps the run's own settings; change some by KEY=VALUE, not --config")
    settings = load_config(overrides or (), config)
    if list_settings:
        return _list(settings)
    if plan:
        return _plan(settings, memory)
    quiet_transformers()
    saved = Path(settings.out) / SETTINGS
    if resume and saved.exists():
        settings = load_config(overrides or (), saved)
    outcome = run(settings, resume=resume, overwrite=overwrite)
    out = console()
    rows = read_metrics(Path(settings.out) / METRICS)
    timed = [row for row in rows if "time/step" in row]
    if profile and timed:
        out.print(_profile(timed))
    if outcome.interrupted:
        say(f"stopped after step {outcome.steps}; resume with --resume", err=True)
        raise typer.Exit(130)
    out.print(_before_and_after(rows))
    compared = f", {settings.out}/{COMPARISON} (before and after)" if (Path(settings.out) / COMPARISON).exists() else ""
    say(f"{settings.out}/curves.png{compared}")


def _list(config: Config) -> None:
    """Print all settings with the values that they have in a run."""
    from deepeyes_env.trainers.grpo.settings_list import list_settings

    for setting in list_settings(config):
        say(f"{setting.name}={setting.value}  ({setting.kind})\n    {setting.about}")


def _plan(config: Config, memory: float | None) -> None:
    """Print what a run will take, and what would make it take less; exit code 1: more than there is."""
    from deepeyes_env.trainers.grpo.plan import make_plan

    made = make_plan(config, memory)
    out = console()
    table = Table("gigabytes", *made.stages, title=made.title)
    for part in made.parts:
        sizes = [stage.get(part, 0) / 1e9 for stage in made.stages.values()]
        table.add_row(part, *(f"{size:.2f}" if size else "" for size in sizes))
    table.add_section()
    table.add_row("together", *(f"{sum(stage.values()) / 1e9:.2f}" for stage in made.stages.values()))
    out.print(table)
    for line in made.notes:
        say(line)
    if not made.fits:
        raise typer.Exit(1)


def quiet_transformers() -> None:
    """Switch off the progress bars of loading and saving weights: they would tear the live view."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _before_and_after(rows: list[dict[str, float]]) -> Table:
    """Return the held-out results of the first and the last evaluation; of the first only, if there is no other."""
    evaluated = [row for row in rows if any(name.startswith(names.HELD_OUT) for name in row)]
    shown = [evaluated[0], evaluated[-1]] if len(evaluated) > 1 else evaluated
    table = Table("held-out questions", *("before", "after")[: len(shown)])
    table.add_row("questions played", *map(_played, shown))
    accuracies, rates = names.BY_DIFFICULTY[:2], names.BY_DIFFICULTY[2:]
    for name in (*accuracies, names.ACCURACY, *rates, names.ZOOM_IOU, names.REWARD):
        values = [row.get(f"{names.HELD_OUT}{name}") for row in shown]
        if any(value is not None for value in values):
            table.add_row(name, *("" if value is None else f"{value:.3f}" for value in values))
    return table


def _played(row: Mapping[str, float]) -> str:
    """Return over how many questions an evaluation is, and of how many."""
    finished, failed = row.get(names.FINISHED), row.get(names.FAILED, 0)
    if finished is None:
        return ""
    return f"{finished:.0f} of {finished + failed:.0f}" if failed else f"{finished:.0f}"


def _profile(rows: list[dict[str, float]]) -> Table:
    """Return a table of the mean seconds per step; evaluations and checkpoints are not counted."""

    def mean(name: str) -> float:
        return sum(row.get(f"time/{name}", 0.0) for row in rows) / max(1, len(rows))

    total = mean("step")
    model = {"generation": mean("generate"), "policy updates": mean("learn")}
    if any("time/credit" in row for row in rows):
        model["playing on from calls"] = mean("credit")
    around = {"waiting for environments": mean("wait"), "packing": mean("pack"), "recording": mean("record")}
    around["everything else"] = total - sum(model.values()) - sum(around.values())
    table = Table("where the time goes", "seconds per step", "share")
    for label, seconds in {**model, **around}.items():
        table.add_row(label, f"{seconds:.3f}", f"{seconds / total:.1%}")
    table.add_section()
    outside = sum(around.values())
    table.add_row("outside the model", f"{outside:.3f}", f"{outside / total:.1%}")
    table.add_row("whole step", f"{total:.3f}", "100%")
    return table
