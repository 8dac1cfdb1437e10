"""``deepeyes rollout``: let an agent play, and print how it did."""

from __future__ import annotations

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


def rollout(
    env: EnvId = "VisualToolbox-v2",
    agent: Annotated[str, typer.Option(help="Who plays: oracle, blind, noisy or random.")] = "oracle",
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes.")] = 200,
    out: Annotated[
        Path | None, typer.Option(help="Folder to record the run in; look at it with `deepeyes view`.")
    ] = None,
    data: DataSource = "visual_search",
    in_order: InOrder = False,
    seed: FirstSeed = 0,
    num_envs: Annotated[int, typer.Option(min=1, help="How many episodes run at once.")] = 8,
    backend: Annotated[
        str, typer.Option(help="Where the environments live: threads of this process, ray actors, or a plugin's.")
    ] = "threads",
    rubric: RubricName = "auto",
    max_pixels: MaxPixels = None,
    prompt: PromptSourceName = "auto",
    prompt_template: PromptTemplateFile = None,
    max_turns: MaxTurns = DEFAULT_MAX_TURNS,
    resume: Annotated[bool, typer.Option("--resume", help="Play only those episodes that OUT lacks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the run that OUT holds.")] = False,
) -> None:
    """Let an agent play episodes; print accuracy, reward by term, tool calls and their errors."""
    from deepeyes_env import agents

    if resume and overwrite:
        raise typer.BadParameter("--resume and --overwrite exclude each other")
    if (resume or overwrite) and out is None:
        raise typer.BadParameter("--resume and --overwrite need --out")
    env_kwargs: dict[str, Any] = {"dataset": data, "max_turns": max_turns, **prompt_kwargs(prompt, prompt_template)}
    if max_pixels is not None:
        env_kwargs["view"] = view_budget(max_pixels)
    try:
        run = agents.rollout(
            env,
            agents.make_agent(agent, seed=seed, max_turns=max_turns),
            episodes=episodes,
            seed=seed,
            in_order=in_order,
            num_envs=num_envs,
            backend=backend,
            out=out,
            if_exists="resume" if resume else "overwrite" if overwrite else "error",
            rubric=None if rubric == "none" else rubric,
            **env_kwargs,
        )
    except KeyboardInterrupt:
        say(f"stopped; --resume plays what {out} lacks" if out else "stopped; nothing was recorded", err=True)
        raise typer.Exit(130) from None
    console().print(summary_table({f"{agent} on {env}": run.summary}))
    if run.failures:
        again = f"; {out}/failures.jsonl lists them, --resume plays them again" if out else ""
        first = run.failures[0]
        say(
            f"{len(run.failures)} of {episodes} episodes failed{again}; "
            f"the first one is episode {first.episode.number}: {first.error}",
            err=True,
        )
        raise typer.Exit(1)
