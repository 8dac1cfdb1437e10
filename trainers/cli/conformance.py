"""``deepeyes conformance``: whether trainers and servers write a model's conversations in the same tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepeyes_env.extras import needs_extra
from deepeyes_env.terminal import say

if TYPE_CHECKING:
    from deepeyes_env.trainers.conformance.check import Report


def conformance(
    model: Annotated[Path, typer.Argument(help="Model directory; its weights are not read.", metavar="MODEL_DIR")],
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most tokens of an episode that your trainer or server keeps; by default the model's context."
        ),
    ] = None,
) -> None:
    """Write recorded episodes as tokens in every way, and name the first token that differs, and why."""
    with needs_extra("train"):
        from deepeyes_env.trainers.conformance.check import check
    report = check(model, max_tokens)
    say(_text(report))
    if report.findings:
        raise typer.Exit(1)


def _text(report: Report) -> str:
    """Write a report: a line a way, then a line for each drift."""
    drifting = {finding.way for finding in report.findings}
    lines = [
        f"{way}: {'drifts' if way in drifting else 'same tokens'} ({count} compared)"
        for way, count in report.compared.items()
    ]
    lines += [f"note: {note}" for note in report.notes]
    for finding in report.findings:
        lines += ["", str(finding), f"  {finding.remedy}"]
    return "\n".join(lines)
