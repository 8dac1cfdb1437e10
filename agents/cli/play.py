"""``deepeyes play``: play episodes yourself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from deepeyes_env.cli.options import (
    DataSource,
    EnvId,
    FirstSeed,
    InOrder,
    MaxPixels,
    MaxTurns,
    PromptSourceName,
    PromptTemplateFile,
    RubricName,
)
from deepeyes_env.cli.prompts import prompt_kwargs
from deepeyes_env.cli.table import summary_table
from deepeyes_env.cli.views import view_budget
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.terminal import console, say


def play(
    env: EnvId = "VisualToolbox-v2",
    data: DataSource = "visual_search",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of the run, those played earlier included.")] = 20,
    out: Annotated[
        Path, typer.Option(help="Folder to record the run in; a run of the same settings is resumed.")
    ] = Path("play"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run that OUT holds.")] = False,
    in_order: InOrder = False,
    seed: FirstSeed = 0,
    rubric: RubricName = "auto",
    frame: Annotated[
        str, typer.Option(help="Coordinates that boxes are recorded in: view, norm1000, unit or native.")
    ] = "view",
    max_pixels: MaxPixels = None,
    prompt: PromptSourceName = "auto",
    prompt_template: PromptTemplateFile = None,
    max_turns: MaxTurns = DEFAULT_MAX_TURNS,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 is any free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the web browser.")] = True,
) -> None:
    """Play episodes yourself in a web page: the policy's views, its tools, its reward. All of it is recorded."""
    from deepeyes_env.agents.human import play_by_hand
    from deepeyes_env.agents.human.browser import opened
    from deepeyes_env.agents.run_folder import DOOR

    env_kwargs: dict[str, Any] = {"dataset": data, "max_turns": max_turns, "frame": frame}
    env_kwargs |= prompt_kwargs(prompt, prompt_template)
    if max_pixels is not None:
        env_kwargs["view"] = view_budget(max_pixels)

    def announce(url: str) -> None:
        say(f"play at {url}\nrecording in {out}; Ctrl-C stops, the same command resumes")
        if browser:
            leaving.enter_context(opened(url, out / DOOR))

    leaving = ExitStack()
    try:
        summary = play_by_hand(
            env,
            episodes=episodes,
            out=out,
            announce=announce,
            seed=seed,
            in_order=in_order,
            overwrite=overwrite,
            port=port,
            rubric=None if rubric == "none" else rubric,
            **env_kwargs,
        )
    except KeyboardInterrupt:
        say(f"stopped; the same command plays what {out} lacks", err=True)
        raise typer.Exit(130) from None
    finally:
        leaving.close()
    console().print(summary_table({f"human on {env}": summary}))
