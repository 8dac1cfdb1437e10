"""The options of ``deepeyes curate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepeyes_env.core import MAX_SEED
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import unknown_name

if TYPE_CHECKING:
    from deepeyes_env.agents.curation.keep import Keep


@dataclass(frozen=True)
class CurateOptions:
    """What is curated, by whom and how; the help of each option says what it is."""

    out: Annotated[Path, typer.Option(help="Folder of the labels; the data stays as it is.")]
    data: Annotated[
        str | None,
        typer.Argument(help="Data set: .parquet, .tsv, .jsonl, a folder or a built-in task; OUT remembers it."),
    ] = None
    stages: Annotated[
        str, typer.Option(help="Which, by commas: format, label, difficulty, utility, gain; or none.")
    ] = "format"
    open: Annotated[
        bool, typer.Option("--open/--as-is", help="Ask and write without options what can be asked without.")
    ] = True
    limit: Annotated[int | None, typer.Option(min=1, help="First N questions only.")] = None
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Decides order of options and sampling.")] = 0
    keep: Annotated[str, typer.Option(help="Which to write: '0 < difficulty < 1 and utility > 0'.")] = ""
    preset: Annotated[str, typer.Option(help="A condition by name: deepeyes, tool_gain.")] = ""
    write: Annotated[Path | None, typer.Option(help="File for those that are kept: .jsonl, .parquet or .tsv.")] = None

    def chosen_stages(self) -> tuple[str, ...]:
        """Return the stages that are to run, in their order.

        Raises:
            UnknownNameError: There is no such stage.
        """
        from deepeyes_env.agents.curation.label_file import STAGES

        named = [name.strip() for name in self.stages.split(",") if name.strip() not in ("", "none")]
        for name in named:
            if name not in STAGES:
                raise unknown_name("stage", name, (*STAGES, "none"))
        return tuple(name for name in STAGES if name in named)

    def condition(self) -> Keep | None:
        """Return which questions are to be written; ``None`` for none.

        Raises:
            UsageError: It is no condition, or there are two.
        """
        from deepeyes_env.agents.curation.kept import parse_keep, preset
        from deepeyes_env.data.write import check_writable

        if self.keep and self.preset:
            raise UsageError("--keep and --preset are both conditions: give one")
        if self.write is not None:
            check_writable(self.write)
        return parse_keep(preset(self.preset) if self.preset else self.keep) if self.keep or self.preset else None
