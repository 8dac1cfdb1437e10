"""Graceful stop: Ctrl-C ends a run between two steps, so that its state can be saved."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def defer_signals() -> Iterator[list[int]]:
    """Defer SIGINT and SIGTERM while a run is closed; the third one is raised. Yields the list of those that came.

    Does nothing outside the main thread, which alone gets signals.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 2:
            raise KeyboardInterrupt
        logger.warning("closing the run; a moment")

    mine = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, note) for number in mine}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class GracefulStop:
    """Turns SIGINT and SIGTERM into ``KeyboardInterrupt`` where a run can be left; elsewhere it is raised later.

    A second signal is raised at once.
    """

    def __init__(self) -> None:
        self._asked = False
        self._safe = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the block be interrupted at any point; one that was asked for before is raised here."""
        self._safe = True
        try:
            if self._asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._safe = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._safe or self._asked:
            raise KeyboardInterrupt
        self._asked = True
        logger.warning("stopping after this step; once more to stop at once, without a checkpoint")
