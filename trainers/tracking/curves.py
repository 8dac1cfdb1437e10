"""Plots of the metrics of a run, and of the arms of an ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.plotting import COLOURS, finish, new_figure, save
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.tracking.recorders import read_metrics

Rows = Sequence[Mapping[str, float]]

SMOOTHED = 7
"""Width in steps of the moving average of training curves."""

_KINDS = ((names.HARD, "hard"), (names.EASY, "easy"))
_ALL = (("", ""),)

_PANELS = (
    (names.ACCURACY, _KINDS),
    (names.TOOL_RATE, _KINDS),
    (names.ZOOM_IOU, _ALL),
    (names.RESPONSE_TOKENS, _ALL),
    (names.TOOL_CALLS, _ALL),
)
"""The metric of each panel, and the kinds of questions that it is shown for."""


def plot_curves(metrics: Path, out: Path) -> None:
    """Plot accuracy, tool-use rate, IoU, response length, tool calls and reward of one run over its steps.

    Lines are training episodes, averaged over a few steps; dots are held-out questions.

    Args:
        metrics: ``metrics.jsonl``.
        out: The PNG; replaced only once it is complete.
    """
    rows = read_metrics(metrics)
    figure, axes = _figure(len(_PANELS) + 1)
    for axis, (metric, kinds) in zip(axes, _PANELS, strict=False):
        shown = [(f"{metric}{kind}", label) for kind, label in kinds if any(f"{metric}{kind}" in row for row in rows)]
        shown = shown or [(metric, "")]
        for colour, (name, label) in zip(COLOURS, shown, strict=False):
            _line(axis, rows, name, label, colour)
            steps, values = _points(rows, f"{names.HELD_OUT}{name}")
            axis.plot(steps, values, "o", color=colour, markersize=5, markeredgecolor="white")
        finish(axis, names.LABELS[metric])
    terms = sorted({name for row in rows for name in row if name.startswith(names.REWARD_TERM)} - {names.REWARD})
    for colour, name in zip(COLOURS, (names.REWARD, *terms), strict=False):
        _line(axes[-1], rows, name, name.removeprefix(names.REWARD_TERM), colour)
    finish(axes[-1], "Reward and its terms")
    save(figure, out)


def plot_bands(arms: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Plot several runs of each arm as a mean and a band from the lowest to the highest seed, on held-out questions.

    Args:
        arms: ``metrics.jsonl`` of each seed, by the name of the arm.
        out: The PNG.
    """
    figure, axes = _figure(len(names.COMPARED))
    for axis, metric in zip(axes, names.COMPARED, strict=True):
        name = f"{names.HELD_OUT}{metric}"
        for colour, paths in zip(COLOURS, arms.values(), strict=False):
            runs = [dict(zip(*_points(read_metrics(path), name), strict=True)) for path in paths]
            steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
            table = np.array([[run[step] for step in steps] for run in runs])
            if steps:
                axis.plot(steps, table.mean(0), color=colour, linewidth=1.8)
                axis.fill_between(steps, table.min(0), table.max(0), color=colour, alpha=0.18, linewidth=0)
        finish(axis, names.label_of(metric))
    lines = [axes[0].plot([], [], color=colour, linewidth=1.8)[0] for colour in COLOURS[: len(arms)]]
    figure.legend(lines, list(arms), loc="outside lower center", ncols=3, frameon=False)
    save(figure, out)


def _figure(panels: int) -> tuple[Any, list[Any]]:
    rows = -(-panels // 2)
    figure, axes = new_figure(rows, 2, 2.5 * rows, sharex=True)
    for axis in axes[-2:]:
        axis.set_xlabel("step")
    return figure, axes[:panels]


def _points(rows: Rows, name: str) -> tuple[list[float], list[float]]:
    chosen = [row for row in rows if name in row]
    return [row["step"] for row in chosen], [row[name] for row in chosen]


def _line(axis: Any, rows: Rows, name: str, label: str, colour: str) -> None:
    steps, values = _points(rows, name)
    if len(steps) >= SMOOTHED:
        weights = np.convolve(np.ones(len(values)), np.ones(SMOOTHED), "same")
        smooth = np.convolve(values, np.ones(SMOOTHED), "same") / weights
        axis.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
        axis.plot(steps, smooth, color=colour, linewidth=1.8, label=label or None)
    else:
        axis.plot(steps, values, color=colour, linewidth=1.8, label=label or None)
