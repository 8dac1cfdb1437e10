"""``deepeyes credit``: which calls of an evaluation mattered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from deepeyes_env.agents.cli.credit_run import credit_run
from deepeyes_env.agents.cli.eval import show
from deepeyes_env.agents.cli.eval_options import STANDARD, EvalOptions
from deepeyes_env.agents.cli.eval_policy import make_policy
from deepeyes_env.agents.cli.eval_scoring import make_scoring
from deepeyes_env.cli.options import takes
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.terminal import say

_SIDES = re.compile(r"(\w+)=(\d+)")


@dataclass(frozen=True)
class CreditOptions:
    """Whose calls are played on from, and how; the help of each option says what it is."""

    run: Annotated[Path, typer.Argument(help="Folder of `deepeyes eval`.", metavar="RUN")]
    model: Annotated[str, typer.Option(help="The model that was evaluated; by default the name in RUN.")] = ""
    base_url: Annotated[list[str] | None, typer.Option(help="Where it is served, up to /v1.")] = None
    agent: Annotated[str, typer.Option(help="The scripted agent that was evaluated.")] = ""
    change: Annotated[
        str, typer.Option(help="How a result is changed: blank, swapped, moved, or dropped with its call.")
    ] = "blank"
    plays: Annotated[int, typer.Option(min=1, help="Pairs of episodes that are played from each call.")] = 16
    limit: Annotated[int | None, typer.Option(min=1, help="First N episodes that have a call.")] = None
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Decides sampling.")] = 0
    stop: Annotated[bool, typer.Option("--stop/--no-stop", help="Send stop strings.")] = True
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 300.0
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is sent again.")] = 6
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes in flight at once.")] = 32
    judge: Annotated[str, typer.Option(help="Who judges, as for eval.")] = STANDARD
    judge_model: Annotated[str, typer.Option(help="Model of a judge that asks one.")] = ""
    judge_url: Annotated[str, typer.Option(help="Where that is served.")] = ""


@takes(CreditOptions)
def credit(ctx: typer.Context, options: CreditOptions) -> None:
    """Play on from every call of an evaluation, with its result as it was and changed: which calls mattered?"""
    from deepeyes_env.agents.evaluation import open_run
    from deepeyes_env.data.benchmarks import open_benchmark

    run = open_run(options.run)
    asked = _as_asked(run, options)
    benchmark, dataset = open_benchmark(
        asked.bench, asked.data, rotated=asked.rotated, circular=asked.circular, seed=run.plan.seed
    )
    kwargs = _env_kwargs(run.settings)
    player = make_policy(asked, kwargs.get("frame"))
    scoring = make_scoring(benchmark, asked, run.folder)
    try:
        report = credit_run(
            run.folder,
            player,
            scoring,
            change=options.change,
            k=options.plays,
            limit=options.limit,
            seed=options.seed,
            env=asked.env,
            num_envs=options.concurrency,
            dataset=dataset,
            **kwargs,
        )
    except KeyboardInterrupt:
        say("stopped; the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    show(report, run.folder)


def _as_asked(run: Any, options: CreditOptions) -> EvalOptions:
    """Return the options of the evaluation, with those that say where its policy is now."""
    settings: Mapping[str, Any] = run.settings
    known = {name: settings[name] for name in ("env", "max_turns", "rotated", "circular") if name in settings}
    sampling = {name: settings[name] for name in ("temperature", "max_tokens") if name in settings}
    model = options.model or ("" if options.agent else str(settings.get("model", run.policy)))
    served = ("base_url", "agent", "seed", "stop", "timeout", "retries", "concurrency")
    told = {name: getattr(options, name) for name in (*served, "judge", "judge_model", "judge_url")}
    data = settings.get("data")
    made = EvalOptions(run.benchmark.name, Path(data) if data else None, model, **{**known, **sampling})
    return replace(made, **told)


def _env_kwargs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the evaluation's environments were made with."""
    from deepeyes_env.images import ViewBudget

    names = ("max_turns", "frame", "prompt", "prompt_template")
    kwargs = {name: settings[name] for name in names if settings.get(name) is not None}
    if isinstance(view := settings.get("view"), str):
        kwargs["view"] = ViewBudget(**{name: int(value) for name, value in _SIDES.findall(view)})
    return kwargs
