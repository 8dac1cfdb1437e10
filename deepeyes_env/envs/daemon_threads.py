"""Threads that nobody waits for: neither ``close`` nor the end of the interpreter."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

_Job: TypeAlias = "tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]"


class DaemonThreads:
    """Some threads that run what is submitted, in order.

    The interpreter joins the threads of ``concurrent.futures`` when it ends; a tool that never returns would keep it
    from ending. These are left behind. They end with this object, once what they are at returns.

    Args:
        number: How many there are at most; each is started when it is needed first.
        name: Begins their names.
    """

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._name = name
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._end = weakref.finalize(self, _end, self._jobs, number)

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have a function called; returns what will hold its result."""
        future: Future[T] = Future()
        self._jobs.put((future, function, args))
        if len(self._threads) < self._number:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def rename(self, name: str) -> None:
        """Give all threads a name, which debuggers show."""
        for thread in self._threads:
            thread.name = name

    def close(self) -> None:
        """End the threads after what has been submitted; returns at once."""
        self._end()


def _end(jobs: SimpleQueue[_Job | None], number: int) -> None:
    for _ in range(number):
        jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, function, args = job
        if not future.set_running_or_notify_cancel():
            continue
        try:
            _settle(future.set_result, function(*args))
        except BaseException as error:
            _settle(future.set_exception, error)
        del job, future, function, args  # or they would live until the next job


def _settle(settle: Callable[[Any], None], outcome: Any) -> None:
    with suppress(InvalidStateError):  # whoever waited has given it up
        settle(outcome)
