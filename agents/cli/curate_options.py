"""The options of ``deepeyes curate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepeyes_env.agents.cli.eval_options import EvalOptions
from deepeyes_env.cli.options import MaxTurns, number_or_none
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import unknown_name
from deepeyes_env.seeds import MAX_SEED

if TYPE_CHECKING:
    from deepeyes_env.agents.curation.keep import Keep

AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class CurateOptions:
    """What is curated, by whom and how; the help of each option says what it is."""

    out: Annotated[Path, typer.Option(help="Folder of the labels; the data stays as it is.")]
    data: Annotated[
        str | None,
        typer.Argument(help="Data set: .parquet, .tsv, .jsonl, a folder or a built-in task; OUT remembers it."),
    ] = None
    model: Annotated[str, typer.Option(help="Model that is asked, as its server knows it; or a local folder.")] = ""
    base_url: Annotated[
        list[str] | None, typer.Option(help="Where it is served, up to /v1; several servers share the work.")
    ] = None
    agent: Annotated[str, typer.Option(help="A scripted agent instead: oracle, blind, noisy or random.")] = ""
    second_model: Annotated[str, typer.Option(help="A second model for the stage label; by default the first.")] = ""
    second_url: Annotated[list[str] | None, typer.Option(help="Where that is served.")] = None
    stages: Annotated[
        str,
        typer.Option(help="By commas: format, label, difficulty, utility, gain; auto: all that can be run; none."),
    ] = AUTO
    k: Annotated[int, typer.Option(min=1, help="Answers to each question under each condition.")] = 8
    only: Annotated[str, typer.Option(help="Ask the model only where this holds of earlier labels.")] = ""
    open: Annotated[
        bool, typer.Option("--open/--as-is", help="Ask and write without options what can be asked without.")
    ] = True
    limit: Annotated[int | None, typer.Option(min=1, help="First N questions only.")] = None
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Decides order of options and sampling.")] = 0
    env: Annotated[str, typer.Option(help="Tools and protocol of the stage gain.")] = "VisualToolbox-v2"
    frame: Annotated[str, typer.Option(help="Coordinates the model writes boxes in; by its name.")] = ""
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Maximum pixels at which an image is shown.")] = None
    max_turns: MaxTurns = DEFAULT_MAX_TURNS
    temperature: Annotated[
        float | None,
        typer.Option(parser=number_or_none(float, 0), metavar="FLOAT|none", help="Sampling temperature."),
    ] = 1.0
    max_tokens: Annotated[
        int | None,
        typer.Option(parser=number_or_none(int, 1), metavar="INTEGER|none", help="Max new tokens of a message."),
    ] = 2048
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a request may take.")] = 300.0
    retries: Annotated[int, typer.Option(min=0, help="How often a request that failed is sent again.")] = 6
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes in flight at once.")] = 64
    judge: Annotated[str, typer.Option(help="Who judges answers: rules, math, llm, chain, ...")] = "rules"
    judge_model: Annotated[str, typer.Option(help="Model of a judge that asks one, as llm and chain do.")] = ""
    judge_url: Annotated[str, typer.Option(help="Where that is served.")] = ""
    episodes: Annotated[
        bool, typer.Option("--episodes/--no-episodes", help="Record episodes with their images, for the pages.")
    ] = True
    decisions: Annotated[
        Path | None, typer.Option(help="What a person saved from the page of disagreements; label takes it in.")
    ] = None
    keep: Annotated[str, typer.Option(help="Which to write: '0 < difficulty < 1 and utility > 0'.")] = ""
    preset: Annotated[str, typer.Option(help="A condition by name: deepeyes, tool_gain.")] = ""
    write: Annotated[Path | None, typer.Option(help="File for those that are kept: .jsonl, .parquet or .tsv.")] = None

    @property
    def asks(self) -> bool:
        """Whether there is a model to ask."""
        return bool(self.model or self.agent)

    def chosen_stages(self) -> tuple[str, ...]:
        """Return the stages that are to run, in their order.

        Raises:
            UnknownNameError: There is no such stage.
            UsageError: One needs a model, and there is none.
        """
        from deepeyes_env.agents.curation.label_file import STAGES

        if self.stages == AUTO:
            if self.keep or self.preset:
                return ()
            return STAGES if self.asks else ("format", "label")
        named = [name.strip() for name in self.stages.split(",") if name.strip() not in ("", NONE)]
        for name in named:
            if name not in STAGES:
                raise unknown_name("stage", name, (*STAGES, AUTO, NONE))
        needy = [name for name in named if name not in ("format", "label")]
        if needy and not self.asks:
            raise UsageError(f"--stages {','.join(needy)}: asks a model; give --model and --base-url")
        return tuple(name for name in STAGES if name in named)

    def condition(self) -> Keep | None:
        """Return which questions are to be written; ``None`` for none.

        Raises:
            UsageError: It is no condition, there are two, or it has no file to write to.
        """
        from deepeyes_env.agents.curation.kept import parse_keep, preset
        from deepeyes_env.data.write import check_writable

        if self.keep and self.preset:
            raise UsageError("--keep and --preset are both conditions: give one")
        if not (self.keep or self.preset):
            return None
        found = parse_keep(preset(self.preset) if self.preset else self.keep)
        if self.write is None:
            raise UsageError("--keep and --preset write a data set: give --write FILE")
        check_writable(self.write)
        return found

    def policy(self, *, second: bool = False) -> EvalOptions:
        """Return the options by which ``deepeyes eval`` would ask the same model."""
        model, url = (self.second_model, self.second_url) if second else (self.model, self.base_url)
        return EvalOptions(
            model=model,
            base_url=url,
            agent="" if second else self.agent,
            seed=self.seed,
            max_turns=self.max_turns,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            timeout=self.timeout,
            retries=self.retries,
            concurrency=self.concurrency,
        )
