"""A progress bar on standard error, and the running result beside it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deepeyes_env.core import Trajectory
from deepeyes_env.telling import printable
from deepeyes_env.terminal import console
from deepeyes_env.trajectories.summary import RunningSummary


@contextmanager
def progress_bar(title: str, total: int, done: int = 0, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show a progress bar on standard error where that is a terminal and rich is installed.

    Gives a function that counts one more, and takes what to show beside the count.

    Args:
        title: What is going on.
        total: How many there are in all.
        done: How many of them an earlier run has done.
        shown: ``False`` shows nothing anywhere.
    """
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        shown = False
    if not (shown and sys.stderr.isatty()):
        yield lambda result: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[result]}", markup=False),
    )
    left = (TimeRemainingColumn(elapsed_when_finished=True), TextColumn("left", style="dim"))
    with Progress(*columns, *left, console=console(stderr=True)) as bar:
        task = bar.add_task(printable(title), total=total, completed=done, result="")
        yield lambda result: bar.update(task, advance=1, result=result)


class RunningResult:
    """Mean accuracy and reward so far, and the number of failures."""

    def __init__(self) -> None:
        self._played = RunningSummary()
        self._failed = 0

    def add(self, trajectory: Trajectory | None) -> None:
        """Count one episode; ``None`` is a failed one."""
        if trajectory is None:
            self._failed += 1
        else:
            self._played.add(trajectory)

    def __str__(self) -> str:
        summary = self._played.summary
        parts = [] if summary.accuracy is None else [f"accuracy {summary.accuracy:.3f}"]
        parts += [f"reward {summary.reward:.3f}"] if summary.episodes else []
        parts += [f"{self._failed} failed"] if self._failed else []
        return ", ".join(parts)
