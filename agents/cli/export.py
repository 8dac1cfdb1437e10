"""``deepeyes export``: a run as a file that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepeyes_env.cli.options import refuse_given
from deepeyes_env.errors import UsageError
from deepeyes_env.terminal import say

if TYPE_CHECKING:
    from deepeyes_env.data import Dataset


def export(
    ctx: typer.Context,
    run: Annotated[
        Path | None, typer.Argument(help="Run folder of `deepeyes rollout` or `deepeyes eval`.", metavar="RUN")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help="sharegpt, messages (LLaMA-Factory), huggingface (parquet), openai (fine-tuning), vlmevalkit, ..."
        ),
    ] = "sharegpt",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write: .jsonl, .json for messages, .parquet for huggingface, .xlsx or .tsv for vlmevalkit."
        ),
    ] = None,
    right: Annotated[bool, typer.Option("--right", help="Only episodes with a right answer.")] = False,
    min_reward: Annotated[float | None, typer.Option(help="Only episodes with at least this reward.")] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="Only episodes without a failed call, with an answer.")
    ] = False,
    used_tools: Annotated[
        bool, typer.Option("--used-tools", help="Only episodes in which a tool returned an image.")
    ] = False,
    only_useful_calls: Annotated[
        bool, typer.Option("--only-useful-calls", help="Only episodes whose calls all mattered; see `deepeyes credit`.")
    ] = False,
    tools: Annotated[
        str | None, typer.Option(help="on or off: only episodes with tools, or without; by default both.")
    ] = None,
    calls: Annotated[
        str | None,
        typer.Option(help="sharegpt, openai: write tool calls as text or native; by default as they were made."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="vlmevalkit: the data set that was played, for the order of its options.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="Instead of a run: read a file of the format through; say what is wrong, where.")
    ] = None,
) -> None:
    """Write the episodes of a run to a file for training or evaluation elsewhere; or check such a file."""
    from deepeyes_env.agents.evaluation.scored import read_scored
    from deepeyes_env.files import refuse_existing
    from deepeyes_env.trajectories import export as exports
    from deepeyes_env.trajectories.files import RECORDS
    from deepeyes_env.trajectories.summary import written_counts

    if check is not None:
        refuse_given(ctx, set(ctx.params) - {"check", "format"}, "--check only reads a file")
        held = exports.check(check, format)
        counts = f", {held.messages} messages, {held.images} images" if held.messages else ""
        say(f"{check}: good {format}, {held.rows} rows{counts}")
        return
    if run is None or out is None:
        raise typer.BadParameter("give RUN and --out, or --check")
    refuse_existing(out, overwrite)
    if out.resolve() in (run.resolve(), (run / RECORDS).resolve()):
        raise UsageError(f"{out}: is the run itself; give another file")
    dataset, rows = (None, None) if data is None else _data_set(run, data)
    done = exports.export(
        read_scored(run),
        out,
        format,
        selection=exports.Selection(right, min_reward, clean, used_tools, tools, only_useful_calls),  # type: ignore[arg-type]  # checked there
        calls=calls,  # type: ignore[arg-type]  # checked there
        dataset=dataset,
        rows=rows,
    )
    left_out = f"; left out: {written_counts(done.left_out)}" if done.left_out else ""
    say(f"{out}: {done.written} episodes{left_out}")


def _data_set(run: Path, data: str) -> tuple[Dataset, Dataset | None]:
    """Open a data set as the run did, and where benchmarks change questions on the way also as its file has it."""
    from deepeyes_env.agents.evaluation.run import open_run
    from deepeyes_env.agents.run_folder import PLAN
    from deepeyes_env.data import load
    from deepeyes_env.data.benchmarks import open_benchmark
    from deepeyes_env.data.benchmarks.transforms import CYCLE_COLUMN
    from deepeyes_env.data.vlmevalkit import TSVDataset
    from deepeyes_env.trajectories.files import folder_of

    folder = folder_of(run)
    if not (folder / PLAN).is_file():
        return load(data), None
    played = open_run(folder)
    benchmark = played.benchmark
    if benchmark.metric == "box" and played.settings.get("rotated"):
        raise UsageError(
            f"{run}: was played with --rotated, so its boxes are not those of {data}; export an evaluation without it"
        )
    _, dataset = open_benchmark(benchmark.name, data)
    if benchmark.grouped and CYCLE_COLUMN not in dataset[0].metadata:
        raise UsageError(
            f"{run}: was played with --circular, and a result sheet has a row for each one of {data}; "
            "export an evaluation without it"
        )
    path = Path(data).expanduser()
    return dataset, TSVDataset(path) if path.suffix.lower() == ".tsv" else None
