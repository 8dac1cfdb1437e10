"""ToolRunner: runs the code of an environment's tools, which may hang, or try to end the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

from deepeyes_env.core import Sample
from deepeyes_env.envs.daemon_threads import DaemonThreads
from deepeyes_env.errors import ToolExitError, ToolTimeoutError, UsageError
from deepeyes_env.tools import Tool

T = TypeVar("T")

DEFAULT_TIMEOUT = 300.0
"""Seconds after which a tool is given up, if nothing else is said."""

_HUNG = "hung tool "

logger = logging.getLogger(__name__)


class ToolRunner:
    """Runs the tools of one environment in a thread of their own, and gives up one that does not return in time.

    A thread cannot be ended from outside. One that hangs is left behind, told and counted; the next call gets another.
    Neither ``close`` nor the end of the interpreter waits for it. Tools that run in place have no limit, and cost
    nothing.

    Args:
        timeout: Seconds that a tool may take for one call, for opening or for closing; ``None`` runs all tools in the
            calling thread, without a limit.

    Raises:
        UsageError: The limit is no positive number of seconds.
    """

    def __init__(self, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        if timeout is not None and not 0 < timeout <= threading.TIMEOUT_MAX:
            raise UsageError(f"tool_timeout={timeout}: must be a number of seconds, or None for no limit")
        self.timeout = timeout
        self._threads: DaemonThreads | None = None
        self._awaited: tuple[Future[Any], Tool, Callable[..., Any]] | None = None
        self._left: list[Tool] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return (ToolRunner, (self.timeout,))

    def open(self, tool: Tool, sample: Sample) -> None:
        """Begin an episode of a tool.

        Raises:
            ToolTimeoutError, ToolExitError: As ``run``.
        """
        if tool.stateful:
            self.run(tool, tool.open, sample)

    def close(self, tool: Tool) -> bool:
        """End an episode of a tool; returns whether it can be used again: one that hangs cannot.

        A tool that was left behind is closed by its own thread, should it ever return.
        """
        if self._left and any(each is tool for each in self._left):
            self._left = [each for each in self._left if each is not tool]
            return False
        if type(tool).close is not Tool.close:
            try:
                self.run(tool, tool.close)
            except (ToolTimeoutError, ToolExitError):
                logger.exception("%s could not be closed", tool.name)
                return False
        return True

    def run(self, tool: Tool, function: Callable[..., T], *args: Any) -> T:
        """Call a function of a tool.

        Raises:
            ToolTimeoutError: It has not returned in time.
            ToolExitError: It raised what is no ``Exception``, as ``sys.exit`` does.
            Exception: What else it raised.
        """
        if tool.runs_in_place or self.timeout is None:
            try:
                return function(*args)
            except (Exception, KeyboardInterrupt):
                raise
            except BaseException as exit:
                raise _exits(tool, exit) from exit
        self._threads = self._threads or DaemonThreads(1, "tools")
        future = self._threads.submit(function, *args)
        self._awaited = (future, tool, function)
        try:
            error = future.exception(self.timeout)
        except BaseException as cause:  # the time is up, or the user interrupts
            self._leave(tool, function)
            if isinstance(cause, TimeoutError):
                raise ToolTimeoutError(f"{tool.name} did not return within {self.timeout:g} seconds") from None
            raise
        finally:
            self._awaited = None
        if error is None:
            return future.result()
        if isinstance(error, _GivenUpError):
            raise ToolTimeoutError(f"{tool.name} was given up: the environment was closed") from None
        if isinstance(error, Exception):
            raise error
        raise _exits(tool, error) from error

    def give_up(self) -> None:
        """Have a call that another thread waits for given up at once."""
        if self._awaited is not None:
            future, tool, function = self._awaited
            self._leave(tool, function)
            with suppress(InvalidStateError):  # it has just returned
                future.set_exception(_GivenUpError())

    def _leave(self, tool: Tool, function: Callable[..., Any]) -> None:
        threads, self._threads = self._threads, None
        if threads is None:
            return
        if function != tool.close:
            threads.submit(tool.close)
            self._left.append(tool)
        threads.rename(_HUNG + tool.name)
        threads.close()
        logger.error(
            "%s does not return; its thread is left behind (such threads in this process: %d)", tool.name, hung_tools()
        )


class _GivenUpError(Exception):
    """Stands for the result of a call that nobody waits for any more."""


def hung_tools() -> int:
    """Return how many tools of this process were given up and have not returned since."""
    return sum(thread.name.startswith(_HUNG) for thread in threading.enumerate())


def _exits(tool: Tool, error: BaseException) -> ToolExitError:
    return ToolExitError(f"{tool.name} failed: {type(error).__name__}: {str(error)[:200]}")
