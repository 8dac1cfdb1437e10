"""Plots as PNG files: what all of ours look like. matplotlib is imported when the first is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from deepeyes_env.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""A palette for the colour-blind (Okabe and Ito, 2008)."""


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


def finish(axis: Any, title: str, *, shares: Literal["", "x", "y"] = "", legend_beside: bool = False) -> None:
    """Give an axis its title, grid and legend, once everything is drawn.

    Args:
        axis: The axis.
        title: Its title; the first letter becomes a capital.
        shares: The axis along which there are shares: it goes from 0 to 1, with room for a mark at 1.
        legend_beside: Whether the legend stands beside the axis, not in it.
    """
    axis.set_title(title[:1].upper() + title[1:], fontsize=10, loc="left")
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if shares:
        axis.set(**{f"{shares}lim": (0, 1.02)})
    if axis.get_legend_handles_labels()[0]:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if legend_beside else {}
        axis.legend(fontsize=8, frameon=False, **place)


def drawable(label: str) -> str:
    """Return a label without what no font can draw: control characters and lone surrogates."""
    return "".join(each if each.isprintable() else "?" for each in label)


def save(figure: Any, out: Path) -> None:
    """Write a figure as a PNG, replaced only once it is complete; equal figures make equal files."""
    with replacing(out) as beside:
        figure.savefig(beside, format="png", metadata={"Software": None})
