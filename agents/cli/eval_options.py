"""The options of ``deepeyes eval``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from deepeyes_env.cli.options import MaxTurns, PromptSourceName, PromptTemplateFile, number_or_none
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.seeds import MAX_SEED

STANDARD = "standard"
"""The name by which the benchmark's own judge is asked for."""


@dataclass(frozen=True)
class EvalOptions:
    """What is evaluated on what, how it plays and who judges; the help of each option says what it is."""

    bench: Annotated[str, typer.Option(help="Benchmark: vstar, hrbench_4k, tsv, jsonl, ...; see docs.")] = ""
    data: Annotated[Path | None, typer.Option(help="Its file or folder.")] = None
    model: Annotated[
        str, typer.Option(help="Name of the model, as its server knows it; without --base-url also a local folder.")
    ] = ""
    base_url: Annotated[
        list[str] | None, typer.Option(help="Where it is served, up to /v1; several servers share the work.")
    ] = None
    local: Annotated[
        bool, typer.Option("--local", help="Run the model here: a folder, or a name on the Hugging Face Hub.")
    ] = False
    agent: Annotated[str, typer.Option(help="A scripted agent instead: oracle, blind, noisy or random.")] = ""
    tools: Annotated[str, typer.Option(help="on, off, or both, to see the difference.")] = "on"
    repeats: Annotated[int, typer.Option(min=1, help="Answers to each question: pass@k, avg@k, maj@k.")] = 1
    circular: Annotated[
        bool, typer.Option("--circular", help="CircularEval: each question with its options cycled.")
    ] = False
    rotated: Annotated[bool, typer.Option("--rotated", help="Turn each image; the rotate tool turns it back.")] = False
    limit: Annotated[int | None, typer.Option(min=1, help="First N samples only.")] = None
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Decides order of options, angles and sampling.")] = 0
    env: Annotated[str, typer.Option(help="Tools and protocol; VisualToolboxNative-v0 for function calling.")] = (
        "VisualToolbox-v2"
    )
    frame: Annotated[
        str, typer.Option(help="Coordinates the model writes boxes in: view, norm1000, native, unit; by its name.")
    ] = ""
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Maximum pixels at which an image is shown.")] = None
    prompt: PromptSourceName = "auto"
    prompt_template: PromptTemplateFile = None
    max_turns: MaxTurns = DEFAULT_MAX_TURNS
    temperature: Annotated[
        float | None,
        typer.Option(
            parser=number_or_none(float, 0),
            metavar="FLOAT|none",
            help="Sampling temperature; --repeats wants one. none: do not send it.",
        ),
    ] = 0.0
    max_tokens: Annotated[
        int | None,
        typer.Option(
            parser=number_or_none(int, 1),
            metavar="INTEGER|none",
            help="Max new tokens of a message. none: do not send it.",
        ),
    ] = 2048
    stop: Annotated[
        bool, typer.Option("--stop/--no-stop", help="Send stop strings; `transformers serve` cannot take them.")
    ] = True
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 300.0
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is sent again.")] = 6
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes in flight at once.")] = 32
    judge: Annotated[
        str, typer.Option(help="Who judges: standard (the benchmark's own), rules, math, llm, chain, ...; see docs.")
    ] = STANDARD
    judge_model: Annotated[str, typer.Option(help="Model of a judge that asks one, as llm and chain do.")] = ""
    judge_url: Annotated[str, typer.Option(help="Where that is served.")] = ""
    rubric: Annotated[
        str, typer.Option(help="Reads the answer and gives the reward; accuracy, or a name as in training.")
    ] = "accuracy"
    out: Annotated[Path | None, typer.Option(help="Folder for everything; by default runs/BENCH-MODEL.")] = None
    resume: Annotated[bool, typer.Option("--resume", help="Resume: ask only what OUT lacks.")] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete the evaluation that OUT holds.")] = False
    credit: Annotated[
        bool, typer.Option("--credit", help="Then play on from every call, its result blanked: which calls mattered?")
    ] = False
    rescore: Annotated[bool, typer.Option("--rescore", help="Only judge what OUT holds, with another judge.")] = False

    @property
    def is_local(self) -> bool:
        """Whether the model runs on this machine, and no server is asked for it."""
        return bool(self.model) and not self.base_url and (self.local or Path(self.model).is_dir())
