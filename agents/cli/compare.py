"""``deepeyes compare``: two evaluations side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deepeyes_env.terminal import console, say


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of an evaluation, as `deepeyes eval` writes it.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Folder of another one, of the same benchmark.", metavar="B")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to; by default A-vs-B beside the first one.")
    ] = None,
) -> None:
    """Compare two policies question by question, with a paired significance test."""
    from deepeyes_env.agents import evaluation
    from deepeyes_env.agents.evaluation.comparison import label, overview
    from deepeyes_env.agents.evaluation.report_text import test_result

    found = evaluation.compare(first, second, out)
    table = Table(box=None, pad_edge=False, header_style="bold", title=found.benchmark)
    table.add_column("", no_wrap=True)
    for name in found.names:
        table.add_column(name, justify="right")
    for row in overview(found):
        table.add_row(*row)
    console().print(table)
    for pair in found.pairs:
        sides = (label(name, side, found) for name, side in zip(found.names, (pair.first, pair.second), strict=True))
        say(test_result(pair.test, *sides))
    say(f"{found.page} (question by question), {found.page.with_suffix('.md')}")
