"""The table of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from deepeyes_env.trajectories import Summary


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """Return the table that shows summaries side by side, a named column each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in summaries:
        table.add_column(name, justify="right")
    runs = summaries.values()
    terms = list(dict.fromkeys(name for run in runs for name in run.reward_terms))
    table.add_row("episodes", *(str(run.episodes) for run in runs))
    table.add_row("accuracy", *(_number(run.accuracy) for run in runs))
    table.add_row("reward", *(_number(run.reward) for run in runs))
    for term in terms:
        table.add_row(f"  {term}", *(_number(run.reward_terms.get(term)) for run in runs))
    table.add_row("tool calls per episode", *(_number(run.tool_calls) for run in runs))
    table.add_row("failed calls", *(_counts(run.failed_calls) for run in runs))
    table.add_row("IoU of the best box", *(_number(run.iou) for run in runs))
    table.add_row("turns per episode", *(_number(run.turns) for run in runs))
    table.add_row("ended by", *(_counts(run.stop_reasons) for run in runs))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unfinished'} {count}" for name, count in counts.items()) or "none"
