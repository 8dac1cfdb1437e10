"""A session: the programs of one episode, which share their state, and share nothing with other episodes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from deepeyes_env.images import Image
from deepeyes_env.sandbox.kernel import Cell, CellResult, Kernel, KernelLostError, Limits
from deepeyes_env.sandbox.registry import SandboxLike, get_sandbox

_TRIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Ran:
    """A cell that has run, and what came of it."""

    cell: Cell
    result: CellResult


class Session:
    """Runs the cells of an episode one after the other.

    The kernel opens with the first cell. If it ends (a program that does not stop, or that ends its process), the next
    cell gets a new one in which the cells before are run again; what they print then is compared, and told if it
    differs. Safe to use from several threads, one cell at a time.

    Args:
        images: The question's images, RGB, ``uint8``, known to programs as ``image_1``, ``image_2`` and so on.
        sandbox: Where programs run: a registered name, or a sandbox.
        limits: What they may use.
    """

    def __init__(
        self, images: Sequence[Image] = (), *, sandbox: SandboxLike = "local", limits: Limits | None = None
    ) -> None:
        self._sandbox = get_sandbox(sandbox)
        self.limits = limits or Limits()
        self._kernel: Kernel | None = None
        self._lock = threading.Lock()
        self._history: list[_Ran] = []
        self._images = 0
        self._unbound: list[tuple[str, Image]] = []
        self.seconds = 0.0
        self.lost = 0
        self.show(*images)

    def show(self, *images: Image) -> tuple[str, ...]:
        """Give images the next names, as other tools' images get them, and return the names."""
        names = []
        for image in images:
            self._images += 1
            names.append(f"image_{self._images}")
            self._unbound.append((names[-1], image))
        return tuple(names)

    @property
    def images(self) -> int:
        """How many images have names."""
        return self._images

    @property
    def cells(self) -> tuple[tuple[str, CellResult], ...]:
        """The cells that make up the state, with what came of them."""
        return tuple((ran.cell.code, ran.result) for ran in self._history)

    def number_from(self, number: int) -> None:
        """Let the next image have a number, where another one counts them."""
        self._images = number - 1

    def run(self, code: str, seconds: float | None = None) -> CellResult:
        """Run a cell.

        What goes wrong in the program is in the result.

        Args:
            code: Python.
            seconds: Wall-clock time that it may take, if that is less than the limits allow.

        Raises:
            SandboxError: The sandbox itself does not work.
        """
        with self._lock:
            notes: list[str] = []
            for attempt in range(_TRIES):
                left = min(self.limits.cell_seconds, self.limits.episode_seconds - self.seconds)
                if left <= 0:
                    most = self.limits.episode_seconds
                    told = f"TimeOutError: the {most:g} s that all cells of an episode may take are used up"
                    return CellResult(stderr=told, error="timeout").noting(*notes)
                cell = Cell(code, min(left, seconds or left), tuple(self._unbound), self._images + 1)
                try:
                    kernel = self._kernel or self._reopened(notes)
                    result = kernel.execute(cell)
                except KernelLostError as error:
                    self._drop(error)
                    if error.blameless and attempt + 1 < _TRIES:
                        notes.append(f"{error}; the cells were run again")
                        continue
                    return CellResult(stderr=str(error), error=error.reason, seconds=error.seconds, ended=True).noting(
                        *notes
                    )
                self._keep(cell, result)
                return result.noting(*notes)
            raise AssertionError("unreachable")

    def branch(self) -> Session:
        """Return a session of its own in the same state, for which the cells are run again when it is first used."""
        with self._lock:
            other = Session(sandbox=self._sandbox, limits=self.limits)
            other._history = list(self._history)
            other._images, other._unbound, other.seconds = self._images, list(self._unbound), self.seconds
            return other

    def close(self) -> None:
        """End the session; may be called again."""
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()

    def _keep(self, cell: Cell, result: CellResult) -> None:
        self.seconds += result.seconds
        for image in result.images:
            image.flags.writeable = False
        self._images += len(result.images)
        self._unbound.clear()
        self._history.append(_Ran(cell, result))

    def _drop(self, error: KernelLostError) -> None:
        self.seconds += error.seconds
        self.lost += 1
        self.close()

    def _reopened(self, notes: list[str]) -> Kernel:
        """Open a kernel, and run again what has run before.

        Raises:
            KernelLostError: A cell that went well before ends the kernel now.
        """
        self._kernel = kernel = self._sandbox.open(self.limits)
        different = []
        for number, ran in enumerate(self._history, 1):
            late = ran.result.error == "TimeoutException"  # it would be again, and take all the time there is
            seconds = ran.cell.seconds if late else self.limits.cell_seconds
            result = kernel.execute(replace(ran.cell, seconds=seconds))
            self.seconds += result.seconds
            if not result.same_output(ran.result):
                different.append(str(number))
        if self._history:
            notes.append(f"a new kernel; cells run again: {len(self._history)}")
        if different:
            notes.append(f"cells that came to something else: {', '.join(different)}")
        return kernel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
