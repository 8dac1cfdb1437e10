"""Curves of accuracy and of code, zoom and search use by task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepeyes_env import labels
from deepeyes_env.plotting import COLOURS, RATE, finish, new_figure, save, whole_numbers
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.tracking.curves import STEP, band_mark, draw_band, legend_below
from deepeyes_env.trainers.tracking.recorders import read_metrics


def plot_tool_use(runs: Sequence[Path], out: Path) -> bool:
    """Plot a panel a task, over the held-out questions; nothing where a run has no such tasks.

    Args:
        runs: ``metrics.jsonl`` of one run, or of several seeds: their mean, and a band from the lowest to the highest.
        out: The PNG; a PDF is written beside it.

    Returns:
        Whether there was something to plot.
    """
    seeds = [read_metrics(path) for path in runs]
    start = f"{names.HELD_OUT}{names.TASK}"
    known = (name.removeprefix(start) for rows in seeds for row in rows for name in row if name.startswith(start))
    tasks = sorted({name.split("/")[0] for name in known})
    if not tasks:
        return False
    lines = -(-len(tasks) // 2)
    figure, axes = new_figure(lines, 2, 2.6 * lines, sharex=True)
    shown = dict(zip((names.ACCURACY, *names.USES), COLOURS, strict=False))
    styles = {name: "--" if name == names.ACCURACY else "-" for name in shown}
    for axis, task in zip(axes, tasks, strict=False):
        for name, colour in shown.items():
            draw_band(axis, seeds, f"{start}{task}/{name}", colour, styles[name])
        finish(axis, labels.capitalised(task), y="share of episodes", ylim=RATE)
    for axis in axes[len(tasks) :]:
        axis.set_visible(False)
    for axis in axes[-2:]:
        axis.set_xlabel(STEP)
    whole_numbers(axes[0])
    lines_shown = {name: {"color": colour, "linestyle": styles[name]} for name, colour in shown.items()}
    legend_below(figure, axes[0], lines_shown | band_mark(len(seeds)))
    save(figure, out)
    return True
