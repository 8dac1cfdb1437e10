"""``deepeyes build-tiny``: build the tiny policy from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from deepeyes_env.data.dataset import PATTERN_SEARCH
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.terminal import console, say


def build_tiny(
    out: Annotated[Path, typer.Option(help="Model directory to write; one built before is replaced.")] = Path("tiny"),
    family: Annotated[
        str, typer.Option(help="Its family: qwen2_5_vl, as the one that ships, or qwen3_vl.")
    ] = "qwen2_5_vl",
    data: Annotated[
        str, typer.Option(help="The built-in task: pattern_search, or pattern_pairs, with two images to a question.")
    ] = PATTERN_SEARCH,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of scenes, initial weights and examples.")] = 0,
    code: Annotated[
        bool,
        typer.Option(
            "--code",
            help="Give the one that ships a cold start for DeepEyesV2's tools; DEEPEYES_SEARCH names a folder.",
        ),
    ] = False,
) -> None:
    """Build a tiny policy like the one that ships with the package, in a few minutes on two cores."""
    with needs_extra("train"):
        from deepeyes_env.trainers.tiny.build import build
        from deepeyes_env.trainers.tiny.cold_start import cold_start
        from deepeyes_env.trainers.tiny.task import TINY, tiny_task
    task = tiny_task(family, data)
    if code and task != TINY:
        raise UsageError(f"--code goes with --family {TINY.family} and --data {TINY.data}: what ships, and begins here")
    with Progress(console=console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def report(stage: str, step: int, steps: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=steps)
            progress.update(bars[stage], completed=step)

        if code:
            seconds = cold_start(out, seed, report=report)
            say(f"built {out} in {seconds:.0f} s; train it with: deepeyes train --config tiny_v2 model={out}")
            return
        seconds = build(out, seed, report=report, task=task)
    width, height = task.size
    scenes = "" if task.family == TINY.family else f" scenes.size=[{width},{height}] scenes.view_pixels={task.side**2}"
    if task.data != PATTERN_SEARCH:
        scenes += f" data={task.data} env.toolbox={task.toolbox}"
    say(f"built {out} in {seconds:.0f} s; train it with: deepeyes train --config tiny model={out}{scenes}")
