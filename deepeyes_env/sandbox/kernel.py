"""The interface between a session and what runs its cells: a sandbox opens kernels, and a kernel runs cells.

Every kind of sandbox implements these two classes; ``deepeyes_env.sandbox.registry`` knows them by name.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.images import Image
from deepeyes_env.telling import quoted

MIB = 1 << 20
_ADDRESS = re.compile(" at 0x[0-9A-Fa-f]+")


class SandboxError(DeepEyesError):
    """The sandbox itself does not work; no program is to blame. The message has the remedy."""


class IsolationError(SandboxError):
    """Programs cannot be shut in on this machine, so none is run; the message has the remedy."""


class KernelLostError(SandboxError):
    """A kernel has ended, and its state with it.

    Attributes:
        reason: ``timeout``, ``memory``, ``exited``, ``killed`` or ``protocol``.
        seconds: How long the cell had run.
        blameless: Nothing that the cell did: the cell may be run again.
    """

    def __init__(self, reason: str, message: str, seconds: float = 0.0, *, blameless: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.seconds = seconds
        self.blameless = blameless


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may use.

    Attributes:
        cell_seconds: Wall-clock time of one cell.
        episode_seconds: Wall-clock time of all cells of a session together.
        memory: Bytes that all processes and files of a session may take together.
        disk: Bytes of files in ``/tmp``.
        file: Bytes of one file.
        processes: Processes and threads at once.
        open_files: Open files of one process.
        stdout: Characters of standard output that a cell returns.
        stderr: Characters of standard error, tracebacks included.
        images: Images that one cell may show.
        image_pixels: Pixels of an image that is shown; all of a cell have at most three times as many.

    Raises:
        UsageError: A limit is not positive.
    """

    cell_seconds: float = 60.0
    episode_seconds: float = 600.0
    memory: int = 2048 * MIB
    disk: int = 256 * MIB
    file: int = 32 * MIB
    processes: int = 64
    open_files: int = 128
    stdout: int = 8_000
    stderr: int = 4_000
    images: int = 10
    image_pixels: int = 1 << 25

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise UsageError(f"Limits: {field.name} is {quoted(value)}; give a positive number")


@dataclass(frozen=True, slots=True, eq=False)
class CellResult:
    """What came of a cell.

    Attributes:
        stdout: Standard output; the last expression is in it as ``Out[0]: value``.
        stderr: Standard error, and the traceback.
        result: ``repr`` of the last expression, if there is one that is not ``None``.
        images: What the cell showed: RGB, ``uint8``, ``(height, width, 3)``, each its very pixels.
        error: What went wrong: the name of the exception's class, or why the kernel ended (``timeout``, ``memory``,
            ``exited``, ``killed``, ``protocol``); ``None`` if nothing did.
        truncated: Output was cut; the text says so too.
        seconds: Wall-clock time of the cell.
        ended: The kernel has ended; the next cell gets a new one.
        notes: What the sandbox did of its own: an indentation repaired, cells replayed, images left out.
    """

    stdout: str = ""
    stderr: str = ""
    result: str | None = None
    images: tuple[Image, ...] = ()
    error: str | None = None
    truncated: bool = False
    seconds: float = 0.0
    ended: bool = False
    notes: tuple[str, ...] = ()

    def noting(self, *notes: str) -> Self:
        """Return the result with more notes, before its own."""
        return replace(self, notes=notes + self.notes) if notes else self

    def same_output(self, other: CellResult) -> bool:
        """Whether a cell that was run again came to the same; where objects lie in memory does not matter."""
        mine, theirs = (
            [_ADDRESS.sub("", text or "") for text in (each.stdout, each.stderr, each.result, each.error)]
            for each in (self, other)
        )
        return mine == theirs and [x.tobytes() for x in self.images] == [x.tobytes() for x in other.images]


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One program to run.

    Attributes:
        code: Python.
        seconds: Wall-clock time that it may take.
        bind: Images that get a name before it runs: RGB, ``uint8``.
        next_image: The number of the first image that it shows; ``image_3`` is the name of number 3.
    """

    code: str
    seconds: float
    bind: Sequence[tuple[str, Image]] = ()
    next_image: int = 1


class Kernel(ABC):
    """Runs the cells of one session."""

    @abstractmethod
    def execute(self, cell: Cell) -> CellResult:
        """Run a cell in the state that the cells before it left.

        Raises:
            KernelLostError: The kernel ended meanwhile.
        """

    @abstractmethod
    def close(self) -> None:
        """End it; may be called again."""


class Sandbox(ABC):
    """Opens kernels that know nothing of each other."""

    @abstractmethod
    def open(self, limits: Limits) -> Kernel:
        """Open a kernel.

        Raises:
            SandboxError: It cannot be opened; the message has the remedy.
        """

    def check_installed(self) -> None:  # noqa: B027  (some need nothing)
        """Look whether what it needs is installed, without starting anything.

        Raises:
            SandboxError, MissingExtraError: It is not; the message has the remedy.
        """

    def describe(self) -> str:
        """Return in a line how programs are shut in, and how memory is bounded."""
        return type(self).__name__

    def close(self) -> None:  # noqa: B027  (some hold nothing)
        """Let go of what the sandbox holds; kernels end with it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
