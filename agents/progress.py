"""A progress bar with the running result, on standard error where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from deepeyes_env.core import Trajectory
from deepeyes_env.trajectories.summary import ACCURACY_TERM


class Report(Protocol):
    """Is told of each episode that ends: its trajectory, or ``None`` if it failed."""

    def __call__(self, trajectory: Trajectory | None) -> None:
        """Count one episode."""
        ...


@contextmanager
def progress_bar(total: int, title: str, *, shown: bool = True) -> Iterator[Report]:
    """Show how many episodes are done, the running accuracy and reward, failures, and the time left.

    Nothing is shown when standard error is not a terminal or rich is not installed.

    Args:
        total: Number of episodes to come.
        title: What is going on.
        shown: ``False`` shows nothing anywhere.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda trajectory: None
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield lambda trajectory: None
        return
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), "{task.fields[result]}")
    widgets = (TextColumn(column) if isinstance(column, str) else column for column in columns)
    with Progress(*widgets, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, result="")
        result = RunningResult()

        def report(trajectory: Trajectory | None) -> None:
            result.add(trajectory)
            bar.update(task, advance=1, result=str(result))

        yield report


class RunningResult:
    """Mean accuracy and reward so far, and the number of failures."""

    def __init__(self) -> None:
        self._episodes = self._judged = self._failed = 0
        self._reward = self._accuracy = 0.0

    def add(self, trajectory: Trajectory | None) -> None:
        """Count one episode; ``None`` is a failed one."""
        if trajectory is None:
            self._failed += 1
            return
        self._episodes += 1
        self._reward += trajectory.reward
        if ACCURACY_TERM in trajectory.reward_terms:
            self._judged += 1
            self._accuracy += trajectory.reward_terms[ACCURACY_TERM].raw

    def __str__(self) -> str:
        parts = [f"accuracy {self._accuracy / self._judged:.3f}"] if self._judged else []
        parts += [f"reward {self._reward / self._episodes:.3f}"] if self._episodes else []
        parts += [f"{self._failed} failed"] if self._failed else []
        return ", ".join(parts)
