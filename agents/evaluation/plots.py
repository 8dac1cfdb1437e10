"""Plots of an evaluation, as PNG and PDF files."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env import labels
from deepeyes_env.agents.evaluation.metrics import Condition, Estimate, Report
from deepeyes_env.agents.evaluation.rows import Row
from deepeyes_env.agents.run_folder import PLOTS
from deepeyes_env.extras import missing_extra
from deepeyes_env.plotting import COLOURS, RATE, drawable, finish, new_figure, save, whole_numbers
from deepeyes_env.trajectories.summary import chance

_COLOURS = dict(zip(("on", "off"), COLOURS, strict=False))

_LABELS = {"on": "with tools", "off": "without tools"}
_MOST_BARS = 40

logger = logging.getLogger(__name__)


def draw(report: Report, rows: Sequence[Row], folder: Path) -> list[str]:
    """Draw what there is to draw; returns the paths of the pictures, relative to the report.

    Without matplotlib there are no pictures, and a warning says what to install.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        logger.warning("no plots: %s", missing_extra("matplotlib", "eval"))
        return []
    if not any(each.accuracy for each in report.conditions):
        return []
    drawn = [_accuracy(report, rows, folder / "accuracy.png"), _tool_use(report, rows, folder / "tool_use.png")]
    if any(each.at_k for each in report.conditions):
        drawn.append(_repeats(report.conditions, folder / "repeats.png"))
    return [f"{PLOTS}/{path.name}" for path in drawn]


def _accuracy(report: Report, rows: Sequence[Row], out: Path) -> Path:
    """Accuracy overall and by category, with confidence intervals; the smallest categories are left out."""
    found: dict[str, dict[str, Estimate]] = {}
    for each in report.conditions:
        if each.accuracy:
            found.setdefault("all", {})[each.name] = each.accuracy
        for name, by_value in each.categories.items():
            for value, estimate in by_value.items():
                found.setdefault(f"{name}: {value}", {})[each.name] = estimate
    largest = sorted(found, key=lambda label: -max(each.questions for each in found[label].values()))[:_MOST_BARS]
    labels = [label for label in found if label in largest or label == "all"]
    figure, (axis,) = new_figure(1, 1, 0.6 + 0.32 * len(labels) + 0.4)
    names = [each.name for each in report.conditions]
    for number, name in enumerate(names):
        shown = [(i, found[label][name]) for i, label in enumerate(labels) if name in found[label]]
        values = np.array([estimate.value for _, estimate in shown])
        errors = np.abs(np.array([[e.value - e.low, e.high - e.value] for _, e in shown]).T)
        places = np.array([i for i, _ in shown]) + (number - (len(names) - 1) / 2) * 0.36
        axis.barh(places, values, 0.34, xerr=errors, color=_COLOURS[name], label=_LABELS[name], ecolor="#444444")
    shown_labels = [label if len(label) <= 40 else f"{label[:39]}…" for label in map(drawable, labels)]
    axis.set_yticks(range(len(labels)), shown_labels, parse_math=False)  # a category may hold a dollar sign
    axis.invert_yaxis()
    guessing = chance(row.orders if row.orders > 1 else 0 for row in rows)
    if guessing is not None:
        axis.axvline(guessing, color="#666666", linewidth=1, linestyle=":", label="chance")
    finish(axis, "Accuracy, with 95 % intervals", x="share of answers", xlim=RATE, legend_beside=True)
    return _saved(figure, out)


def _tool_use(report: Report, rows: Sequence[Row], out: Path) -> Path:
    """Tool-use rate and calls per episode, and the IoU of the best zoom box with the object."""
    figure, (calls, overlap) = new_figure(1, 2, 3.0)
    most = min(12, max((row.calls for row in rows), default=0))
    for number, each in enumerate(report.conditions):
        mine = [row for row in rows if row.condition == each.name]
        seen = Counter(min(row.calls, most) for row in mine)
        shift = (number - (len(report.conditions) - 1) / 2) * 0.4
        label = f"{_LABELS[each.name]}\n({labels.TOOL_USE_RATE} {each.tool_use_rate:.0%})"
        shares = [seen[count] / len(mine) for count in range(most + 1)]
        calls.bar(np.arange(most + 1) + shift, shares, 0.38, color=_COLOURS[each.name], label=label)
        ious = [row.iou for row in mine if row.iou is not None]
        if ious:
            weights = np.full(len(ious), 1 / len(ious))
            overlap.hist(ious, bins=10, range=(0, 1), weights=weights, color=_COLOURS[each.name], alpha=0.8)
    whole_numbers(calls)
    finish(calls, labels.capitalised(labels.TOOL_CALLS), x="calls", y="share of episodes", ylim=RATE)
    finish(overlap, labels.capitalised(labels.BEST_IOU), x="IoU", y="share of zooming episodes", xlim=(0, 1), ylim=RATE)
    if not overlap.patches:
        overlap.text(0.5, 0.5, "no zooms, or no boxes to compare with", ha="center", va="center", color="#666666")
    return _saved(figure, out)


def _repeats(conditions: Iterable[Condition], out: Path) -> Path:
    """What several answers to each question are worth."""
    figure, (axis,) = new_figure(1, 1, 3.2)
    for each in conditions:
        for style, name, values in (
            ("-o", "pass@k", [at.passed for at in each.at_k]),
            ("--s", "maj@k", [at.majority for at in each.at_k]),
            (":^", "avg@k", [at.average for at in each.at_k]),
        ):
            shown = [(at.k, value) for at, value in zip(each.at_k, values, strict=True) if value is not None]
            if shown:
                label = f"{name} {_LABELS[each.name]}"
                axis.plot(*zip(*shown, strict=True), style, color=_COLOURS[each.name], label=label, lw=1.6, ms=4)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted({at.k for each in conditions for at in each.at_k}))
    axis.get_xaxis().set_major_formatter(lambda value, _: f"{value:g}")
    finish(axis, "pass@k, maj@k, avg@k", x="answers to each question (k)", y="share of questions", ylim=RATE)
    return _saved(figure, out)


def _saved(figure: Any, out: Path) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a category in a script that the font lacks
        save(figure, out)
    return out
