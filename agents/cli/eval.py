"""``deepeyes eval``: a policy answers a benchmark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from deepeyes_env.agents.cli.credit_run import credit_run
from deepeyes_env.agents.cli.eval_options import EvalOptions
from deepeyes_env.agents.cli.eval_policy import frame_for, make_policy, view_for
from deepeyes_env.agents.cli.eval_scoring import make_scoring
from deepeyes_env.agents.hub import model_directory
from deepeyes_env.cli.options import refuse_given, takes
from deepeyes_env.cli.prompts import prompt_kwargs
from deepeyes_env.cli.views import view_budget
from deepeyes_env.judges.llm_endpoint import LOCAL
from deepeyes_env.rewards.presets import READS_EFFECTS
from deepeyes_env.terminal import console, say

_FOR_SERVER = ("base_url", "stop", "timeout", "retries")
_FOR_MODEL = (*_FOR_SERVER, "frame", "temperature", "max_tokens")
_FOR_RESCORE = ("rescore", "out", "judge", "judge_model", "judge_url", "rubric")


@takes(EvalOptions)
def evaluate(ctx: typer.Context, options: EvalOptions) -> None:
    """Evaluate a model on a benchmark: accuracy, tool-use rate, calls, tokens; every episode on a page."""
    from deepeyes_env.agents import evaluation
    from deepeyes_env.data.benchmarks import open_benchmark

    if options.resume + options.overwrite + options.rescore > 1:
        raise typer.BadParameter("--resume, --overwrite and --rescore exclude each other")
    if options.rescore:
        return _rescore(ctx, options)
    _check(ctx, options)
    benchmark, dataset = open_benchmark(
        options.bench, options.data, rotated=options.rotated, circular=options.circular, seed=options.seed
    )
    env_kwargs = _env_kwargs(options, benchmark, dataset)
    player = make_policy(options, env_kwargs.get("frame"))
    name = f"{benchmark.name}-{options.model or options.agent}"
    folder = options.out or Path("runs") / re.sub(r"[^\w.-]+", "-", name).strip("-")
    scoring = make_scoring(benchmark, options, folder)
    # A rubric may ask what calls were worth, which is known at the end: until then only the answers are judged.
    first = replace(scoring, rubric=evaluation.ACCURACY) if options.credit else scoring
    try:
        report = evaluation.evaluate(
            benchmark,
            dataset,
            player,
            first,
            out=folder,
            tools=options.tools,  # type: ignore[arg-type]  # checked by the plan
            repeats=options.repeats,
            limit=options.limit,
            seed=options.seed,
            env=options.env,
            num_envs=options.concurrency,
            if_exists="resume" if options.resume else "overwrite" if options.overwrite else "error",
            settings=_settings(options),
            **env_kwargs,
        )
        if options.credit:
            report = credit_run(
                folder,
                player,
                first,
                env=options.env,
                num_envs=options.concurrency,
                seed=options.seed,
                dataset=dataset,
                **env_kwargs,
            )
        if scoring.rubric != first.rubric:
            report = evaluation.rescore(folder, scoring)
    except KeyboardInterrupt:
        say(f"stopped; the same command with --resume asks only what {folder} lacks", err=True)
        raise typer.Exit(130) from None
    return show(report, folder)


def _rescore(ctx: typer.Context, options: EvalOptions) -> None:
    from deepeyes_env.agents import evaluation

    out = options.out
    if out is None:
        raise typer.BadParameter("--rescore needs --out, the folder of the evaluation")
    others = [name for name in ctx.params if name not in _FOR_RESCORE]
    refuse_given(ctx, others, "--rescore judges what OUT holds already")
    scoring = make_scoring(evaluation.open_run(out).benchmark, options, out)
    try:
        return show(evaluation.rescore(out, scoring), out)
    except KeyboardInterrupt:
        say(f"stopped; the report in {out} is still the last one; the same command resumes", err=True)
        raise typer.Exit(130) from None


def _check(ctx: typer.Context, options: EvalOptions) -> None:
    """Refuse options that are missing, contradict each other, or that nothing would read."""
    if not options.bench:
        raise typer.BadParameter(f"--bench is missing: one of {', '.join(_names())}")
    if bool(options.model) == bool(options.agent):
        raise typer.BadParameter("give --model and --base-url of a served model, or --agent for a scripted one")
    if options.agent:
        refuse_given(ctx, _FOR_MODEL, "--agent is no model")
    elif options.is_local:
        refuse_given(ctx, _FOR_SERVER, "--model runs here, and no server is asked for it")
    if any(mark in options.model for mark in "/\\") and not options.base_url and not options.is_local:
        looked = f"--model {options.model}: there is no such folder, so it would be the name of a served model"
        say(f"{looked}; --base-url says where it is served (by default {LOCAL}), --local that it runs here", err=True)
    if options.model and options.repeats > 1 and options.temperature == 0:
        raise typer.BadParameter("--repeats at temperature 0 asks for the same again: give --temperature, such as 0.7")
    if options.rubric in READS_EFFECTS and not options.credit:
        raise typer.BadParameter(
            f"--rubric {options.rubric} pays for what calls were worth: give --credit, which plays it"
        )


def _env_kwargs(options: EvalOptions, benchmark: Any, dataset: Any) -> dict[str, Any]:
    kwargs: dict[str, Any] = {"max_turns": options.max_turns}
    kwargs |= prompt_kwargs(options.prompt, options.prompt_template)
    if options.max_pixels is not None:
        kwargs["view"] = view_budget(options.max_pixels)
    if options.model:
        needed = options.tools != "off" or benchmark.metric == "box"
        model = str(model_directory(options.model)) if options.is_local else options.model
        kwargs["frame"] = frame_for(model, options.frame, needed=needed)
        kwargs |= view_for(model, dataset, kwargs.get("view"))
    return kwargs


def _settings(options: EvalOptions) -> dict[str, Any]:
    """Return what a resumed run must have in common with this one, beside what the evaluation itself knows."""
    data = None if options.data is None else str(options.data)
    told: dict[str, Any] = {"data": data, "rotated": options.rotated, "circular": options.circular}
    if options.model:
        told |= {"temperature": options.temperature, "max_tokens": options.max_tokens}
    if options.is_local:
        told["model"] = str(Path(options.model).resolve())
    return told


def _names() -> list[str]:
    from deepeyes_env.data.benchmarks import benchmarks

    return [benchmark.name for benchmark in benchmarks()]


def show(report: Any, folder: Path) -> None:
    """Print the main table and where the rest is; fail if episodes are missing."""
    from deepeyes_env.agents.evaluation.report_text import WITH, credit, difference, hints, overview, state

    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{report.policy} on {report.title}")
    table.add_column("", no_wrap=True)
    for each in report.conditions:
        table.add_column(WITH[each.name], justify="right")
    for row in overview(report):
        table.add_row(*row)
    console().print(table)
    for hint in hints(report):
        say(hint, err=True)
    if report.difference:
        say(difference(report))
    if report.credit:
        say(credit(report.credit))
    say(f"{folder}/report.md, {folder}/index.html (every episode)")
    if not report.complete:
        first = next(iter((*report.failed, *report.unjudged)), None)
        why = f"; the first is sample {first.sample}: {first.error}" if first else ""
        again = "--rescore judges" if not report.failed and not report.missing else "--resume plays and judges"
        say(f"{state(report)}{why}\n{again} the rest; {folder}/report.json lists them all", err=True)
        raise typer.Exit(1)
