"""SideProcess: a script that runs in a process of its own, because what it does may hang, crash or eat memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_LAST_WORDS = 5.0
"""Seconds in which the system takes a process down that has closed its output."""

_STARTED: weakref.WeakSet[SideProcess] = weakref.WeakSet()


class SideProcess:
    """A Python script beside this process, spoken to by its standard input and output: lines of JSON, and raw bytes.

    It is killed when nobody refers to it any more and when this process ends; where this one is killed, its input
    closes. It belongs to the process that started it: a fork has no hold of it. For one thread at a time.

    Args:
        script: The file. It finds modules where this process does.
        arguments: Its arguments.
        environment: Variables of its environment, beside those of this process.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, script: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        # The folder of the script holds modules of a package, which must not be found under their own names (-P).
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._owner = os.getpid()
        self._kill = weakref.finalize(self, _kill, self._process, self._owner)
        _STARTED.add(self)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, and not one that forked this one."""
        return self._owner == os.getpid()

    def say(self, request: object) -> None:
        """Write a line of JSON to it.

        Raises:
            EOFError: It has ended.
        """
        try:
            self._in.write(json.dumps(request).encode() + b"\n")
            self._in.flush()
        except OSError:
            raise EOFError from None

    def hear(self) -> Any:
        """Return the next line of JSON that it writes; waits for it.

        Raises:
            EOFError: It has ended.
        """
        line = self._out.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)

    def fill(self, buffer: memoryview) -> None:
        """Read as many bytes as a buffer has; waits for them.

        Raises:
            EOFError: It has ended.
        """
        while buffer:
            count = self._out.readinto(buffer)  # type: ignore[attr-defined]  # typeshed's IO has none
            if not count:
                raise EOFError
            buffer = buffer[count:]

    def problem(self) -> object:
        """Return what it says first: ``None`` when it is ready, else what is wrong; then it is killed."""
        try:
            problem = self.hear()
        except EOFError:
            problem = f"it ended with status {self.status()}"
        if problem is not None:
            self.end()
        return problem

    def end(self) -> None:
        """Kill it."""
        self._kill()

    def status(self) -> int:
        """Return how it ended, after an ``EOFError``: its exit status, or below zero the signal that ended it."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_LAST_WORDS)
        self.end()
        return int(self._process.returncode)

    def _let_go(self) -> None:
        """Close a fork's ends of the pipes: while they are open, the process would outlive the one that it is for."""
        with Path(os.devnull).open("r+b") as nothing:
            for pipe in (self._in, self._out):
                with suppress(OSError, ValueError):  # closed already
                    # The pipe's own lock may be held by a thread that does not exist here: it is not closed as such.
                    os.dup2(nothing.fileno(), pipe.fileno(), inheritable=False)


def _kill(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a fork of the owner must leave the process alone
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _let_all_go() -> None:
    for each in tuple(_STARTED):
        each._let_go()
    _STARTED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_all_go)
