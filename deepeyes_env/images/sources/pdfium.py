"""PDFium in a process of its own, which all threads share: what a page does to it ends at a limit, and ends only it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np

from deepeyes_env.errors import ImageError
from deepeyes_env.extras import require_extra
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.sources.source_files import Stamp, unreadable
from deepeyes_env.side_process import SideProcess

EXTRA = "documents"

WORKER = Path(__file__).with_name("pdf_worker.py")
"""The script that runs PDFium."""

MAX_SECONDS = 20.0
"""How long one part may take to draw: a page of a real document takes well under a second."""

MAX_MEMORY = 2**31
"""Bytes of address space of the process: for the pixels of a part (at most 201 MB), and for what a page is made of."""

_OUT_OF_TIME = -getattr(signal, "SIGALRM", 0)

Place = tuple[int, int, int, int]
"""Left, top, width, height."""


class Pdfium:
    """Asks the process of PDFium, which starts at first use and is replaced once a page has ended it; thread-safe.

    It serves one thread at a time: PDFium is not thread-safe, not even with a document for each thread. A process that
    was forked starts one of its own.
    """

    def __init__(self) -> None:
        self._process: SideProcess | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Id of the process; ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    def points(self, stamp: Stamp, page: int) -> tuple[float, float]:
        """Return width and height of a page.

        Raises:
            ImageError: There is no such page, or it cannot be read.
            MissingExtraError: pypdfium2 is not installed.
        """
        width, height = self._ask(stamp, page)
        return (width, height)

    def draw(self, stamp: Stamp, page: int, place: Place, size: Size) -> Image:
        """Draw a page so that it would fill a place, and return what lies in ``(0, 0, *size)``.

        Raises:
            ImageError: There is no such page, or it cannot be drawn within the limits.
            MissingExtraError: pypdfium2 is not installed.
        """
        pixels = np.empty((size[1], size[0], 3), np.uint8)
        self._ask(stamp, page, place, pixels)
        return pixels

    def close(self) -> None:
        """End the process; the next call starts another one."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                process.end()

    def _ask(self, stamp: Stamp, page: int, place: Place | None = None, pixels: Image | None = None) -> list[float]:
        request: dict[str, Any] = {
            "file": (str(stamp.path.absolute()), stamp.nbytes, stamp.changed),
            "page": page,
            "seconds": MAX_SECONDS,
            "draw": None if pixels is None else (place, (pixels.shape[1], pixels.shape[0])),
        }
        with self._lock:
            reply = self._reply(stamp.path, page, request, pixels)
        if "pages" in reply:
            raise ImageError(f"image {stamp.path}: has no page {page}; it has pages 1 to {reply['pages']}")
        if "error" in reply:
            raise unreadable(stamp.path, reply["error"])
        points: list[float] = reply["points"]
        return points

    def _reply(self, path: Path, page: int, request: dict[str, Any], pixels: Image | None) -> dict[str, Any]:
        while True:
            process, is_new = self._running(path)
            try:
                process.say(request)
                reply: dict[str, Any] = process.hear()
                if pixels is not None and "points" in reply:
                    process.fill(pixels.data.cast("B"))
                return reply
            except EOFError:
                self._process = None
                status = process.status()
                if is_new or status == _OUT_OF_TIME:
                    raise _ended_by(path, page, status) from None
                # Other pages may have left it too little memory: one that has nothing else to do tries again.
            except BaseException:  # the next call would be given this one's pixels
                self._process = None
                process.end()
                raise

    def _running(self, path: Path) -> tuple[SideProcess, bool]:
        """Return the process, and whether it was started just now."""
        if self._process is not None and self._process.is_ours:
            return self._process, False
        require_extra(EXTRA, "pypdfium2")
        process = SideProcess(WORKER, str(MAX_MEMORY))
        if (problem := process.problem()) is not None:
            raise ImageError(f"image {path}: PDFium does not start ({problem})")
        self._process = process
        return process, True


def _ended_by(path: Path, page: int, status: int) -> ImageError:
    if status == _OUT_OF_TIME:
        return ImageError(f"image {path}: page {page} takes more than {MAX_SECONDS:g} s to draw")
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return ImageError(
        f"image {path}: page {page} ended PDFium ({how}), which may take {MAX_MEMORY >> 20} MiB of memory"
    )


PDFIUM = Pdfium()
"""What all pages of this process are drawn by."""

if hasattr(os, "register_at_fork"):
    # Whoever holds the lock does not live on in the child.
    os.register_at_fork(after_in_child=PDFIUM.__init__)  # type: ignore[misc]
