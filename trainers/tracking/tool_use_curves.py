"""Curves of accuracy and of code, zoom and search use by task."""

from __future__ import annotations

from pathlib import Path

from deepeyes_env import labels
from deepeyes_env.plotting import COLOURS, RATE, finish, new_figure, save, whole_numbers
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.tracking.curves import STEP
from deepeyes_env.trainers.tracking.recorders import read_metrics


def plot_tool_use(metrics: Path, out: Path) -> bool:
    """Plot a panel a task, over the held-out questions; nothing where a run has no such tasks.

    Args:
        metrics: ``metrics.jsonl``.
        out: The PNG; a PDF is written beside it.

    Returns:
        Whether there was something to plot.
    """
    rows = read_metrics(metrics)
    start = f"{names.HELD_OUT}{names.TASK}"
    tasks = sorted({name.removeprefix(start).split("/")[0] for row in rows for name in row if name.startswith(start)})
    if not tasks:
        return False
    lines = -(-len(tasks) // 2)
    figure, axes = new_figure(lines, 2, 2.6 * lines, sharex=True)
    for axis, task in zip(axes, tasks, strict=False):
        for colour, name in zip(COLOURS, (names.ACCURACY, *names.USES), strict=False):
            points = [(row["step"], row[key]) for row in rows if (key := f"{start}{task}/{name}") in row]
            style = "--" if name == names.ACCURACY else "-"
            axis.plot(*zip(*points, strict=True), style, color=colour, marker="o", markersize=3, label=name)
        finish(axis, labels.capitalised(task), y="share of episodes", ylim=RATE)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[-2:]:
        axis.set_xlabel(STEP)
    whole_numbers(axes[0])
    handles, named = axes[0].get_legend_handles_labels()
    figure.legend(handles, named, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    save(figure, out)
    return True
