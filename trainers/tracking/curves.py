"""Plots of the metrics of a run, and of the arms of an ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env import labels
from deepeyes_env.plotting import COLOURS, RATE, finish, from_zero, new_figure, save, whole_numbers
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.tracking.recorders import read_metrics

Rows = Sequence[Mapping[str, float]]

SMOOTHED = 7
"""Width in steps of the moving average of training curves."""

STEP = "training step"


@dataclass(frozen=True, slots=True)
class Panel:
    """One axis of a figure.

    Attributes:
        metric: The metric that it shows; its label is the title.
        unit: What its vertical axis is.
        split: Whether hard and easy questions are told apart, where there are both.
        is_rate: Whether it goes from 0 to 1.
    """

    metric: str
    unit: str
    split: bool = False
    is_rate: bool = False

    @property
    def title(self) -> str:
        """The label of the metric."""
        return labels.capitalised(names.label_of(self.metric))

    def curves(self, rows: Rows) -> dict[str, str]:
        """Return the metrics that a run has, by their labels."""
        kinds = (names.HARD, names.EASY) if self.split else ()
        split = {kind.removeprefix("/"): f"{self.metric}{kind}" for kind in kinds}
        return {kind: name for kind, name in split.items() if any(name in row for row in rows)} or {"": self.metric}


PANELS = (
    Panel(names.ACCURACY, "share of answers", split=True, is_rate=True),
    Panel(names.TOOL_RATE, "share of episodes", split=True, is_rate=True),
    Panel(names.ZOOM_IOU, "IoU", is_rate=True),
    Panel(names.TOOL_CALLS, "calls"),
    Panel(names.RESPONSE_TOKENS, "tokens"),
)
"""What is shown of a run, beside its rewards."""


def compared() -> tuple[Panel, ...]:
    """Return what the arms of an ablation are compared by."""
    known = {panel.metric: panel for panel in PANELS}
    return tuple(replace(known[names.kind_of(name)[0]], metric=name, split=False) for name in names.COMPARED)


def plot_curves(metrics: Path, out: Path) -> None:
    """Plot accuracy, tool-use rate, IoU, tool calls, response length and reward of one run over its steps.

    Thin lines are the training batches, thick ones their moving average, dots are held-out questions.

    Args:
        metrics: ``metrics.jsonl``.
        out: The PNG; a PDF is written beside it.
    """
    rows = read_metrics(metrics)
    figure, axes = _figure(len(PANELS) + 1)
    for axis, panel in zip(axes, PANELS, strict=False):
        shown: list[float] = []
        for colour, (label, name) in zip(COLOURS, panel.curves(rows).items(), strict=False):
            shown += _line(axis, rows, name, label, colour)
            steps, values = _points(rows, f"{names.HELD_OUT}{name}")
            axis.plot(steps, values, "o", color=colour, markersize=5, markeredgecolor="white")
            shown += values
        if panel.metric == names.ACCURACY:
            _draw_chance(axis, rows)
        _finish(axis, panel, shown)
    terms = sorted({name for row in rows for name in row if name.startswith(names.REWARD_TERM)} - {names.REWARD})
    for colour, name in zip(COLOURS, (names.REWARD, *terms), strict=False):
        _line(axes[-1], rows, name, name.removeprefix(names.REWARD_TERM), colour)
    finish(axes[-1], "Reward and its terms", y="reward per episode")
    marks = {
        "training batch": {"color": "#666666", "linewidth": 0.7, "alpha": 0.4},
        f"moving average of {SMOOTHED} batches": {"color": "#666666", "linewidth": 1.8},
        "held-out questions": {"color": "#666666", "marker": "o", "linestyle": "", "markersize": 5},
    }
    legend_below(figure, axes[0], marks)
    save(figure, out)


def plot_bands(arms: Mapping[str, Sequence[Path]], out: Path) -> None:
    """Plot several runs of each arm as a mean and a band from the lowest to the highest seed, on held-out questions.

    Args:
        arms: ``metrics.jsonl`` of each seed, by the name of the arm.
        out: The PNG; a PDF is written beside it.
    """
    runs = {arm: [read_metrics(path) for path in paths] for arm, paths in arms.items()}
    figure, axes = _figure(len(names.COMPARED))
    for axis, panel in zip(axes, compared(), strict=True):
        shown: list[float] = []
        for colour, seeds in zip(COLOURS, runs.values(), strict=False):
            shown += draw_band(axis, seeds, f"{names.HELD_OUT}{panel.metric}", colour)
        if panel.metric.startswith(names.ACCURACY):
            _draw_chance(axis, [row for seeds in runs.values() for rows in seeds for row in rows])
        _finish(axis, panel, shown)
    marks: dict[str, dict[str, Any]] = {
        arm: {"color": colour, "linewidth": 1.8} for colour, arm in zip(COLOURS, arms, strict=False)
    }
    legend_below(figure, axes[0], marks | band_mark(max(map(len, arms.values()), default=0)))
    save(figure, out)


def draw_band(axis: Any, seeds: Sequence[Rows], name: str, colour: str, style: str = "-") -> list[float]:
    """Draw a metric as the mean of some runs and the band from the lowest to the highest one.

    Args:
        axis: The axis.
        seeds: The metrics of each run; steps that not all of them have are left out.
        name: The metric.
        colour: Of line and band.
        style: Of the line.

    Returns:
        What is drawn.
    """
    tables = [dict(zip(*_points(rows, name), strict=True)) for rows in seeds]
    steps = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    if not steps:
        return []
    values = np.array([[table[step] for step in steps] for table in tables])
    axis.plot(steps, values.mean(0), f"o{style}", color=colour, linewidth=1.8, markersize=3)
    axis.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
    shown: list[float] = values.ravel().tolist()
    return shown


def band_mark(seeds: int) -> dict[str, dict[str, Any]]:
    """Return what a legend says of bands; nothing of one run, which has none."""
    mark = {"color": "#666666", "linewidth": 7, "alpha": 0.25}
    return {f"lowest to highest of {seeds} seeds": mark} if seeds > 1 else {}


def _figure(panels: int) -> tuple[Any, list[Any]]:
    rows = -(-panels // 2)
    figure, axes = new_figure(rows, 2, 2.6 * rows, sharex=True)
    for axis in axes[-2:]:
        axis.set_xlabel(STEP)
    whole_numbers(axes[0])
    return figure, axes[:panels]


def _finish(axis: Any, panel: Panel, shown: Sequence[float]) -> None:
    limits = RATE if panel.is_rate else from_zero(np.array(shown))
    finish(axis, panel.title, y=panel.unit, ylim=limits)


def _draw_chance(axis: Any, rows: Rows) -> None:
    """Draw what guessing scores, where every question is multiple choice."""
    _, known = _points(rows, f"{names.HELD_OUT}{names.CHANCE}")
    if known:
        axis.axhline(known[-1], color="#666666", linewidth=1, linestyle=":", label="chance")


def legend_below(figure: Any, axis: Any, marks: Mapping[str, Mapping[str, Any]]) -> None:
    """Give a figure one legend below its axes: what each kind of line means, by its style."""
    lines = [axis.plot([], [], **style)[0] for style in marks.values()]
    figure.legend(lines, list(marks), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _points(rows: Rows, name: str) -> tuple[list[float], list[float]]:
    chosen = [row for row in rows if name in row]
    return [row["step"] for row in chosen], [row[name] for row in chosen]


def _line(axis: Any, rows: Rows, name: str, label: str, colour: str) -> list[float]:
    """Draw a metric of the training batches; return its values."""
    steps, values = _points(rows, name)
    if len(steps) >= SMOOTHED:
        weights = np.convolve(np.ones(len(values)), np.ones(SMOOTHED), "same")
        smooth = np.convolve(values, np.ones(SMOOTHED), "same") / weights
        axis.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
        axis.plot(steps, smooth, color=colour, linewidth=1.8, label=label or None)
    else:
        axis.plot(steps, values, color=colour, linewidth=1.8, label=label or None)
    return values
