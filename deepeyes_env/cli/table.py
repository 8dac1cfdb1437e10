"""The table of a run."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from deepeyes_env.trajectories import Summary


def summary_table(summary: Summary, title: str) -> Table:
    """Return the table that shows a summary."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None, pad_edge=False)
    table.add_column("quantity")
    table.add_column("value", justify="right")
    rows = [
        ("episodes", str(summary.episodes)),
        ("accuracy", _number(summary.accuracy)),
        ("reward", _number(summary.reward)),
        *((f"  {name}", _number(share)) for name, share in summary.reward_terms.items()),
        ("tool calls per episode", _number(summary.tool_calls)),
        ("failed calls", _counts(summary.failed_calls)),
        ("IoU of the best box", _number(summary.iou)),
        ("turns per episode", _number(summary.turns)),
        ("ended by", _counts(summary.stop_reasons)),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'unfinished'} {count}" for name, count in counts.items()) or "none"
