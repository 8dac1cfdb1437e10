"""Runs cells one after the other in one namespace, and replies to each."""

from __future__ import annotations

import ast
import builtins
import linecache
import mmap
import os
import random
import signal
import socket
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from PIL import Image

from deepeyes_env.sandbox.worker.display import Display, described
from deepeyes_env.sandbox.worker.framing import receive_with_fds, send
from deepeyes_env.sandbox.worker.indentation import mended
from deepeyes_env.sandbox.worker.streams import OutputFile, cut
from deepeyes_env.sandbox.worker.tracebacks import CELL, format_error

MAX_REQUEST = 1 << 26
TIMED_OUT = "Timed out!"


class TimeoutException(BaseException):
    """A cell took too long. It is no ``Exception``: a loop that goes on after errors does not go on after it."""


class Notebook:
    """The state of a session, which the warm parent makes and every session has a copy of.

    It is of use from ``begin`` on.
    """

    def __init__(self) -> None:
        self._stdout = self._stderr = OutputFile(-1)
        self._cells = 0
        self._seconds: float | None = None
        self.display = Display()
        self.display.install()
        module = types.ModuleType("__main__", None)
        sys.modules["__main__"] = module
        self._names = module.__dict__
        self._names.update(__builtins__=builtins, display=self.display.display, exit=_leave, quit=_leave)

    def warm_up(self) -> None:
        """Run what a first cell runs, and show something, so that what the first use makes is there for all."""
        code = "1 / 0\n"
        linecache.cache["<cell 0>"] = (len(code), None, [code], "<cell 0>")
        try:
            exec(compile(code, "<cell 0>", "exec"), {})
        except ZeroDivisionError as error:
            format_error(error)
        del linecache.cache["<cell 0>"]
        self.display.warm_up()

    def begin(self, stdout: int, stderr: int, seed: int) -> None:
        """Begin a session, in the process that is to run its cells.

        Args:
            stdout: File that standard output goes to.
            stderr: File that standard error goes to.
            seed: What ``random`` and NumPy's old generator begin with, so that cells can be replayed.
        """
        import numpy as np

        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        self._stdout, self._stderr = OutputFile(stdout), OutputFile(stderr)
        random.seed(seed)
        np.random.seed(seed)

    def serve(self, sock: socket.socket, gate: int) -> None:
        """Run the cells that come until the host is gone.

        Args:
            sock: Where they come from, and replies go.
            gate: A pipe with a byte for each cell that may begin: then the session's first process is done with the
                one before, and takes nothing that the cell starts for something left over.
        """
        while True:
            try:
                head, fds = receive_with_fds(sock, MAX_REQUEST)
            except EOFError:
                return
            if not os.read(gate, 1):  # the session's first process was killed, and this one is about to be
                return
            self.bind(head["bind"], fds)
            reply = self.run(head["code"], head)
            reply["number"] = head["number"]
            send(sock, reply, self.display.pixels())

    def bind(self, images: list[dict[str, Any]], fds: list[int]) -> None:
        """Give images names; their pixels stay in memory that sessions share."""
        for spec, fd in zip(images, fds, strict=True):
            size = (spec["width"], spec["height"])
            pixels = mmap.mmap(fd, 4 * size[0] * size[1], flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
            os.close(fd)
            self._names[spec["name"]] = shared_image(pixels, size)

    def run(self, code: str, head: dict[str, Any]) -> dict[str, Any]:
        """Run a cell, and return the reply."""
        self._cells += 1
        self.display.begin(head["images"], head["pixels"])
        self._stdout.begin()
        self._stderr.begin()
        sys.stdout, sys.stderr = self._stdout.text(), self._stderr.text()
        reply: dict[str, Any] = {"result": None, "error": None}
        code, change = mended(code)
        process = os.getpid()
        report = self._execute(code, head["seconds"], reply)
        if os.getpid() != process:  # one that the program forked: replies are not its business
            os._exit(0)
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        self.display.close_figures()
        reply["stdout"], out_cut = cut(self._stdout.text_so_far(), head["stdout"])
        reply["stderr"], err_cut = cut(self._stderr.text_so_far() + report, head["stderr"], keep_end=True)
        if reply["result"] is not None:
            reply["result"] = reply["result"][: head["stdout"]]
        reply["truncated"] = out_cut or err_cut
        reply["notes"] = [change] if change else []
        reply["notes"] += [f"{reason} ({count} left out)" for reason, count in self.display.dropped.items()]
        for position, image in enumerate(self.display.images):
            self._names[f"image_{head['next_image'] + position}"] = image
        reply["shown"] = [list(image.size) for image in self.display.images]
        return reply

    def _execute(self, code: str, seconds: float, reply: dict[str, Any]) -> str:
        """Run code, and return what is to be said of its failure."""
        filename = f"{CELL}{self._cells}>"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                compile(code, "<string>", "exec")
            tree = ast.parse(code, filename)
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            reply["error"] = "SyntaxError"
            return f"SyntaxError - {error}"
        linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)
        last = None
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = tree.body[-1].value
            del tree.body[-1]
        try:
            with self._time_limit(seconds):
                exec(compile(tree, filename, "exec"), self._names)
                if last is not None:
                    value = eval(compile(ast.Expression(last), filename, "eval"), self._names)
                    if value is not None:
                        self._show_last(value, code, reply)
                _join_threads()
        except SystemExit as error:
            reply["error"] = "SystemExit"
            return f"An exception has occurred, use %tb to see the full traceback.\n\nSystemExit: {error}\n\n"
        except BaseException as error:
            reply["error"] = type(error).__name__[:100]
            try:
                return format_error(error)
            except Exception:  # its own methods may fail
                return f"{reply['error']}: (the error cannot be shown)\n"
        return ""

    def _show_last(self, value: Any, code: str, reply: dict[str, Any]) -> None:
        reply["result"] = repr(value)
        self._names["_"] = value
        if not code.rstrip().endswith(";"):
            sys.stdout.write(f"Out[0]: {described(value)}\n")
            self.display.value(value)

    @contextmanager
    def _time_limit(self, seconds: float) -> Iterator[None]:
        armed = True

        def ring(number: int, frame: Any) -> None:
            if armed:
                raise TimeoutException(TIMED_OUT)

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)


def shared_image(pixels: Any, size: tuple[int, int]) -> Image.Image:
    """Return an RGB image over memory of four bytes a pixel, without a copy; Pillow copies it before a change."""
    shared = Image.Image()
    shared.im = Image.core.map_buffer(pixels, size, "raw", 0, ("RGB", 0, 1))  # type: ignore[attr-defined]
    shared._mode, shared._size, shared.readonly = "RGB", size, 1
    return shared


def _join_threads() -> None:
    """Wait for a cell's threads; those of a pool wait for work, and would be waited for in vain."""
    pools = sys.modules.get("concurrent.futures.thread")
    idle = set(getattr(pools, "_threads_queues", ()))
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon and thread not in idle:
            while thread.is_alive():
                thread.join(0.05)
                time.sleep(0)


def _leave(*args: Any) -> None:
    """``exit()`` and ``quit()``: in the original they end nothing."""
