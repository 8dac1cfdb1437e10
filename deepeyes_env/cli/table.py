"""The table of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from deepeyes_env import labels
from deepeyes_env.trajectories import Summary
from deepeyes_env.trajectories.summary import written_counts


def summary_table(summaries: Mapping[str, Summary]) -> Table:
    """Return the table that shows summaries side by side, a named column each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in summaries:
        table.add_column(name, justify="right")
    runs = summaries.values()
    terms = list(dict.fromkeys(name for run in runs for name in run.reward_terms))
    table.add_row("episodes", *(str(run.episodes) for run in runs))
    table.add_row(labels.ACCURACY, *(_number(run.accuracy) for run in runs))
    table.add_row(labels.REWARD, *(_number(run.reward) for run in runs))
    for term in terms:
        table.add_row(f"  {term}", *(_number(run.reward_terms.get(term)) for run in runs))
    table.add_row(labels.TOOL_CALLS, *(_number(run.tool_calls) for run in runs))
    table.add_row(labels.FAILED_CALLS, *(written_counts(run.failed_calls) for run in runs))
    if any(run.unknown_tools for run in runs):
        table.add_row(labels.UNKNOWN_TOOLS, *(written_counts(run.unknown_tools) for run in runs))
    table.add_row(labels.BEST_IOU, *(_number(run.iou) for run in runs))
    table.add_row(labels.TURNS, *(_number(run.turns) for run in runs))
    table.add_row(labels.ENDED_BY, *(written_counts(run.stop_reasons) for run in runs))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
