"""Plots for a paper, as PNG and PDF: what all of ours look like. matplotlib is imported when the first is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""A palette for the colour-blind (Okabe and Ito, 2008)."""

RATE = (0.0, 1.02)
"""Limits of an axis of rates: 0 to 1, with room for a mark at 1."""

ROOM = 0.08
"""Part of an axis left free above its largest value."""


def new_figure(rows: int, columns: int, height: float, *, sharex: bool = False) -> tuple[Any, list[Any]]:
    """Return a figure and its axes, row by row; it belongs to no window and may be drawn in any thread.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        height: Its height in inches; it is 9 wide.
        sharex: Whether all have one horizontal axis, labelled in the last row.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, height), dpi=110, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(rows, columns, sharex=sharex)))


def finish(
    axis: Any,
    title: str,
    *,
    x: str = "",
    y: str = "",
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    legend_beside: bool = False,
) -> None:
    """Give an axis its title, labels, limits, grid and legend, once everything is drawn.

    Args:
        axis: The axis.
        title: Its title.
        x: What its horizontal axis is, with the unit.
        y: What its vertical axis is, with the unit.
        xlim: Limits of its horizontal axis; ``RATE`` for rates.
        ylim: Limits of its vertical axis; ``RATE`` for rates.
        legend_beside: Whether the legend stands beside the axis, not in it.
    """
    axis.set_title(title, fontsize=10, loc="left")
    axis.set(**{name: label for name, label in (("xlabel", x), ("ylabel", y)) if label})
    axis.set(**{name: limits for name, limits in (("xlim", xlim), ("ylim", ylim)) if limits})
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if legend_beside else {}
        axis.legend(fontsize=8, frameon=False, **place)


def whole_numbers(axis: Any) -> None:
    """Mark whole numbers only along a horizontal axis: there is no half a step."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


def from_zero(values: np.ndarray) -> tuple[float, float]:
    """Return the limits of an axis for values of 0 and more."""
    known = values[np.isfinite(values)]
    return (0.0, max(float(known.max()) if len(known) else 0.0, 1e-9) * (1 + ROOM))


def drawable(label: str) -> str:
    """Return a label without what no font can draw: control characters and lone surrogates."""
    return "".join(each if each.isprintable() else "?" for each in label)


def save(figure: Any, out: Path) -> None:
    """Write a figure as a PNG, and beside it as a PDF of the same name for papers.

    Each is replaced only once it is complete; equal figures make equal files.

    Args:
        figure: The figure.
        out: The PNG.
    """
    import matplotlib

    with replacing(out) as beside:
        figure.savefig(beside, format="png", metadata={"Software": None})
    unstamped = dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with replacing(out.with_suffix(".pdf")) as beside, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(beside, format="pdf", metadata=unstamped)
