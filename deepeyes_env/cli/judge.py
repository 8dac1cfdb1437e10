"""``deepeyes judge``: is a judging model there, and does it judge as it should."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from deepeyes_env.terminal import console


def judge(
    check: Annotated[
        str,
        typer.Option(metavar="URL", help="Server of the judging model, up to and including /v1.", show_default=False),
    ],
    model: Annotated[str, typer.Option(help="Its name, as served; may be left out where only one is.")] = "",
    prompt: Annotated[str, typer.Option(help="What it is asked: open or math.")] = "open",
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that a judgement may take.")] = 120.0,
) -> None:
    """Ask a judging model about answers of which everybody knows whether they are right."""
    from statistics import median

    from deepeyes_env.judges import LLMJudge
    from deepeyes_env.judges.check import check_judge
    from deepeyes_env.judges.llm_endpoint import only_model

    asked = LLMJudge(model or only_model(check, timeout=timeout), check, prompt=prompt, timeout=timeout, retries=1)
    report = check_judge(asked)
    table = Table(repr(asked), "")
    table.add_row("agreement", f"{report.asked - len(report.wrong)} of {report.asked}")
    table.add_row("seconds, one alone", f"{report.alone:.2f}")
    table.add_row(
        f"seconds, {report.asked} at once", f"median {median(report.latencies):.2f}, most {max(report.latencies):.2f}"
    )
    for each in report.wrong:
        table.add_row("judged wrong", f"{each.given!r} for {each.right!r}")
    console().print(table)
    report.check()
