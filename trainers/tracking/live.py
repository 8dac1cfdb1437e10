"""Live view of a run in a terminal; elsewhere a line every few steps."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping
from typing import Any

from deepeyes_env.terminal import console
from deepeyes_env.trainers.tracking import names

logger = logging.getLogger(__name__)

LINE_EVERY = 20
_BARS = " ▁▂▃▄▅▆▇█"
_ROWS = (
    (names.LABELS[names.REWARD], names.REWARD, "{:+.2f}"),
    (names.LABELS[names.ACCURACY], names.ACCURACY, "{:.0%}"),
    ("  hard", f"{names.ACCURACY}{names.HARD}", "{:.0%}"),
    ("  easy", f"{names.ACCURACY}{names.EASY}", "{:.0%}"),
    (names.LABELS[names.TOOL_RATE], names.TOOL_RATE, "{:.0%}"),
    (names.LABELS[names.ZOOM_IOU], names.ZOOM_IOU, "{:.2f}"),
    (names.LABELS[names.RESPONSE_TOKENS], names.RESPONSE_TOKENS, "{:.0f}"),
    ("loss", "learn/loss", "{:+.4f}"),
    ("tokens trained per second", "learn/tokens_per_second", "{:.0f}"),
)
_HELD_OUT = [
    (name, f"{names.HELD_OUT}{name}")
    for name in (*names.BY_DIFFICULTY[:2], names.ACCURACY, names.TOOL_RATE, names.ZOOM_IOU)
]


class Live:
    """Shows the newest metrics, their history, and the time left.

    Args:
        steps: Steps of the whole run.
        first: Step that it resumes from.
        width: Points of a sparkline.
    """

    def __init__(self, steps: int, first: int = 0, width: int = 40) -> None:
        from rich.live import Live as RichLive

        self._steps, self._first, self._width = steps, first, width
        self._began = time.monotonic()
        self._course: dict[str, list[float]] = {}
        self._console = console()
        self._live: Any = RichLive(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show a step."""
        for name, value in metrics.items():
            self._course.setdefault(name, []).append(value)
        if self._live is not None:
            self._live.update(self._table(step, metrics), refresh=True)
        elif step % LINE_EVERY == 0 or step == self._steps or any(name.startswith(names.HELD_OUT) for name in metrics):
            self._console.print(self._line(step, metrics), highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the last view standing."""
        if self._live is not None:
            self._live.stop()

    def _line(self, step: int, metrics: Mapping[str, float]) -> str:
        parts = [f"step {step}/{self._steps}"]
        parts += [f"{label.strip()} {text.format(metrics[name])}" for label, name, text in _ROWS[:6] if name in metrics]
        held_out = [f"{name} {metrics[key]:.2f}" for name, key in _HELD_OUT if key in metrics]
        return "  ".join([*parts, *(["held out: " + "  ".join(held_out)] if held_out else []), self._left(step)])

    def _left(self, step: int) -> str:
        done = step - self._first
        if done < 1:
            return ""
        seconds = round((time.monotonic() - self._began) / done * (self._steps - step))
        return f"{seconds // 60}:{seconds % 60:02d} left"

    def _table(self, step: int, metrics: Mapping[str, float]) -> Any:
        from rich.table import Table

        table = Table(title=f"step {step} of {self._steps}   {self._left(step)}", title_justify="left", box=None)
        table.add_column("", no_wrap=True)
        table.add_column("now", justify="right")
        table.add_column("history", no_wrap=True)
        terms = [
            (f"  {name.removeprefix(names.REWARD_TERM)}", name, "{:+.2f}")
            for name in metrics
            if name.startswith(names.REWARD_TERM) and name != names.REWARD
        ]
        held_out = [(f"held out: {name}", key, "{:.2f}") for name, key in _HELD_OUT if key in self._course]
        for label, name, text in (_ROWS[0], *terms, *_ROWS[1:], *held_out):
            course = self._course.get(name)
            if course:
                table.add_row(label, text.format(course[-1]), sparkline(course, self._width))
        return table


def sparkline(values: list[float], width: int) -> str:
    """Return values as a row of bars, thinned out to ``width`` means."""
    if len(values) > width:
        bounds = [len(values) * i // width for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(bounds)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)
