"""``deepeyes eval``: a policy answers a benchmark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from deepeyes_env.cli.options import refuse_given
from deepeyes_env.cli.views import view_budget
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.judges.llm_endpoint import LOCAL

JUDGES = ("standard", "rules", "math", "llm", "chain")

_FOR_SERVER = ("base_url", "stop", "timeout", "retries")
_FOR_MODEL = (*_FOR_SERVER, "frame", "temperature", "max_tokens")
_FOR_RESCORE = ("rescore", "out", "judge", "judge_model", "judge_url", "rubric")


def evaluate(
    ctx: typer.Context,
    bench: Annotated[str, typer.Option(help="Benchmark: vstar, hrbench_4k, tsv, jsonl, ...; see docs.")] = "",
    data: Annotated[Path | None, typer.Option(help="Its file or folder.")] = None,
    model: Annotated[
        str, typer.Option(help="Name of the model, as its server knows it; without --base-url also a local folder.")
    ] = "",
    base_url: Annotated[
        list[str] | None, typer.Option(help="Where it is served, up to /v1; several servers share the work.")
    ] = None,
    agent: Annotated[str, typer.Option(help="A scripted agent instead: oracle, blind, noisy or random.")] = "",
    tools: Annotated[str, typer.Option(help="on, off, or both, to see the difference.")] = "on",
    repeats: Annotated[int, typer.Option(min=1, help="Answers to each question: pass@k, avg@k, maj@k.")] = 1,
    circular: Annotated[
        bool, typer.Option("--circular", help="CircularEval: each question with its options cycled.")
    ] = False,
    rotated: Annotated[bool, typer.Option("--rotated", help="Turn each image; the rotate tool turns it back.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="First N samples only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the order of options, angles and sampling.")] = 0,
    env: Annotated[
        str, typer.Option(help="Tools and protocol; VisualToolboxNative-v0 for function calling.")
    ] = "VisualToolbox-v2",
    frame: Annotated[
        str, typer.Option(help="Coordinates the model writes boxes in: view, norm1000, native, unit; by its name.")
    ] = "",
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Maximum pixels at which an image is shown.")] = None,
    max_turns: Annotated[int, typer.Option(min=1, help="Max turns (messages of the policy) in an episode.")] = 6,
    temperature: Annotated[float, typer.Option(min=0, help="Sampling temperature; --repeats wants one.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Max new tokens of a message.")] = 2048,
    stop: Annotated[
        bool, typer.Option("--stop/--no-stop", help="Send stop strings; `transformers serve` cannot take them.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 300.0,
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is sent again.")] = 6,
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes in flight at once.")] = 32,
    judge: Annotated[
        str, typer.Option(help=f"Who judges: {', '.join(JUDGES)}; standard is the benchmark's own.")
    ] = "standard",
    judge_model: Annotated[str, typer.Option(help="Model of the judges llm and chain.")] = "",
    judge_url: Annotated[str, typer.Option(help="Where that is served.")] = "",
    rubric: Annotated[
        str, typer.Option(help="Reads the answer and gives the reward; accuracy, or a name as in training.")
    ] = "accuracy",
    out: Annotated[Path | None, typer.Option(help="Folder for everything; by default runs/BENCH-MODEL.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume: ask only what OUT lacks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the evaluation that OUT holds.")] = False,
    rescore: Annotated[bool, typer.Option("--rescore", help="Only judge what OUT holds, with another judge.")] = False,
) -> None:
    """Evaluate a model on a benchmark: accuracy, tool-use rate, calls, tokens; every episode on a page."""
    from deepeyes_env.agents import evaluation

    if resume + overwrite + rescore > 1:
        raise typer.BadParameter("--resume, --overwrite and --rescore exclude each other")
    if rescore:
        if out is None:
            raise typer.BadParameter("--rescore needs --out, the folder of the evaluation")
        others = [name for name in ctx.params if name not in _FOR_RESCORE]
        refuse_given(ctx, others, "--rescore judges what OUT holds already")
        scoring = _scoring(evaluation.open_run(out).benchmark, judge, judge_model, judge_url, rubric, out)
        try:
            return _show(evaluation.rescore(out, scoring), out)
        except KeyboardInterrupt:
            typer.echo(f"stopped; the report in {out} is still the last one; the same command resumes", err=True)
            raise typer.Exit(130) from None
    from deepeyes_env.data.benchmarks import open_benchmark

    if not bench:
        raise typer.BadParameter(f"--bench is missing: one of {', '.join(_names())}")
    if bool(model) == bool(agent):
        raise typer.BadParameter("give --model and --base-url of a served model, or --agent for a scripted one")
    if agent:
        refuse_given(ctx, _FOR_MODEL, "--agent is no model")
    elif _is_local(model, base_url):
        refuse_given(ctx, _FOR_SERVER, "--model is a local folder, which no server is asked for")
    if model and repeats > 1 and temperature == 0:
        raise typer.BadParameter("--repeats at temperature 0 asks for the same again: give --temperature, such as 0.7")
    benchmark, dataset = open_benchmark(bench, data, rotated=rotated, circular=circular, seed=seed)
    told: dict[str, Any] = {"data": None if data is None else str(data), "rotated": rotated, "circular": circular}
    options: dict[str, Any] = {"max_turns": max_turns}
    if max_pixels is not None:
        options["view"] = view_budget(max_pixels)
    if model:
        if not base_url and ("/" in model or "\\" in model) and not _is_local(model, base_url):
            looked = f"--model {model}: there is no such folder, so it would be the name of a served model"
            typer.echo(f"{looked}; --base-url says where it is served (by default {LOCAL})", err=True)
        options["frame"] = _frame(model, frame, needed=tools != "off" or benchmark.metric == "box")
        told |= {"temperature": temperature, "max_tokens": max_tokens}
        if _is_local(model, base_url):
            told["model"] = str(Path(model).resolve())
        player = _model(
            model,
            base_url,
            options["frame"],
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
            stop="auto" if stop else (),
            timeout=timeout,
            retries=retries,
            concurrency=concurrency,
        )
    else:
        from deepeyes_env.agents import make_agent

        player = make_agent(agent, seed=seed, max_turns=max_turns)
    folder = out or Path("runs") / re.sub(r"[^\w.-]+", "-", f"{benchmark.name}-{model or agent}").strip("-")
    scoring = _scoring(benchmark, judge, judge_model, judge_url, rubric, folder)
    try:
        report = evaluation.evaluate(
            benchmark,
            dataset,
            player,
            scoring,
            out=folder,
            tools=tools,  # type: ignore[arg-type]  # checked by the plan
            repeats=repeats,
            limit=limit,
            seed=seed,
            env=env,
            num_envs=concurrency,
            if_exists="resume" if resume else "overwrite" if overwrite else "error",
            settings=told,
            **options,
        )
    except KeyboardInterrupt:
        typer.echo(f"stopped; the same command with --resume asks only what {folder} lacks", err=True)
        raise typer.Exit(130) from None
    return _show(report, folder)


def _names() -> list[str]:
    from deepeyes_env.data.benchmarks import benchmarks

    return [benchmark.name for benchmark in benchmarks()]


def _frame(model: str, frame: str, *, needed: bool) -> Any:
    """Return the frame that a model writes boxes in; where it writes none, any will do."""
    from deepeyes_env.agents.families import frame_of

    try:
        return frame_of(model, frame or None)  # type: ignore[arg-type]  # checked there
    except ValueError as error:
        if not (needed or frame):
            return "view"
        raise UsageError(str(error).replace("frame=", "--frame ")) from error


def _is_local(model: str, base_url: list[str] | None) -> bool:
    return not base_url and Path(model).is_dir()


def _model(model: str, base_url: list[str] | None, frame: Any, **options: Any) -> Any:
    """Return the agent of a local model directory, or of a served model whose servers have been found to serve it."""
    if _is_local(model, base_url):
        return _local_model(model, frame, options["seed"], options["temperature"], options["max_tokens"])
    from deepeyes_env.agents.openai import OpenAIAgent

    player = OpenAIAgent(model, base_url or [LOCAL], **options)
    player.check()
    return player


def _local_model(model: str, frame: Any, seed: int, temperature: float, max_tokens: int) -> Any:
    with needs_extra("transformers"):
        import torch

        from deepeyes_env.agents.transformers.agent import TransformersAgent
        from deepeyes_env.agents.transformers.generator import Sampling
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    sampling = Sampling(temperature, max_tokens)
    return TransformersAgent(model, sampling=sampling, seed=seed, frame=frame, device=device, dtype=dtype)


def _scoring(benchmark: Any, judge: str, model: str, url: str, rubric: str, folder: Path) -> Any:
    from deepeyes_env.agents.evaluation.scoring import Scoring
    from deepeyes_env.judges.presets import make_judge
    from deepeyes_env.judges.standard import standard_judge

    if judge not in JUDGES:
        raise UsageError(f"--judge {judge}: must be one of {', '.join(JUDGES)}")
    if judge == "standard":
        if model or url:
            raise UsageError("--judge-model and --judge-url are for --judge llm and chain")
        return Scoring(standard_judge(benchmark.judge), f"standard ({benchmark.judge})", rubric)
    if benchmark.metric == "box":
        raise UsageError(f"--judge {judge}: cannot compare boxes; {benchmark.title} needs --judge standard")
    asks = judge in ("llm", "chain")
    if asks and not (model and url):
        raise UsageError(f"--judge {judge}: asks a model; give --judge-model and --judge-url")
    prompt = "math" if benchmark.metric == "math" else "open"
    cache = folder.parent / "judgements.sqlite3" if asks else None
    made = make_judge(judge, model=model or None, base_url=url or None, prompt=prompt, cache=cache)
    return Scoring(made, f"{judge} ({model})" if asks else judge, rubric, workers=32 if asks else 8)


def _show(report: Any, folder: Path) -> None:
    """Print the main table and where the rest is; fail if episodes are missing."""
    from deepeyes_env.agents.evaluation.report_text import WITH, overview, state, test_result

    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{report.policy} on {report.title}")
    table.add_column("", no_wrap=True)
    for each in report.conditions:
        table.add_column(WITH[each.name], justify="right")
    for row in overview(report):
        table.add_row(*row)
    Console().print(table)
    if report.difference:
        typer.echo(test_result(report.difference, "without tools", "with tools"))
    typer.echo(f"{folder}/report.md, {folder}/index.html (every episode)")
    if not report.complete:
        first = next(iter((*report.failed, *report.unjudged)), None)
        why = f"; the first is sample {first.sample}: {first.error}" if first else ""
        again = "--rescore judges" if not report.failed and not report.missing else "--resume plays and judges"
        typer.echo(f"{state(report)}{why}\n{again} the rest; {folder}/report.json lists them all", err=True)
        raise typer.Exit(1)
