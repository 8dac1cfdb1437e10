"""Tracebacks as a notebook shows them; every cell is called ``Cell In[1]``, as in the original."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import PurePath
from types import TracebackType
from typing import Any

CELL = "<cell "
"""How the file names of cells begin."""
_WIDTH = 75
_CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def format_error(error: BaseException) -> str:
    """Return the traceback of an exception that a cell raised, without the frames that run the cell."""
    parts = ["-" * _WIDTH, *_chain(error, [])]
    return "\n".join(parts) + "\n"


def _chain(error: BaseException, seen: list[BaseException]) -> Iterator[str]:
    seen.append(error)
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and not any(before is each for each in seen) and len(seen) < 10:
        yield from _chain(before, seen)
        yield _CAUSE if error.__cause__ is not None else _CONTEXT
    yield from _one(error)


def _one(error: BaseException) -> Iterator[str]:
    name = type(error).__name__
    yield name + "Traceback (most recent call last)".rjust(_WIDTH - len(name))
    try:
        yield from _frames(error.__traceback__)
    except Exception:  # a program can make frames that cannot be shown
        yield "(the frames cannot be shown)"
    yield ""
    yield f"{name}: {error}"
    yield from map(str, getattr(error, "__notes__", ()))


def _frames(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(CELL):
        trace = trace.tb_next
    from stack_data.core import RepeatedFrames

    first = True
    for frame in _framed(trace):
        if isinstance(frame, RepeatedFrames):
            repeated: Any = frame
            yield f"    [... skipping similar frames: {repeated.description}]"
            continue
        if "/sandbox/worker/" in frame.filename:
            return
        if not first:
            yield ""
        first = False
        yield f"{_place(frame)}{_call(frame)}"
        yield from _lines(frame)


def _framed(trace: TracebackType | None) -> Iterator[Any]:
    from stack_data.core import FrameInfo, Options

    return iter(FrameInfo.stack_data(trace, options=Options(before=2, after=2))) if trace else iter(())


def _place(frame: Any) -> str:
    if frame.filename.startswith(CELL):
        return f"Cell In[1], line {frame.lineno}"
    return f"File {PurePath(frame.filename).name}:{frame.lineno}"


def _call(frame: Any) -> str:
    name = frame.executing.code_qualname()
    if name == "<module>":
        return ""
    arguments = inspect.getargvalues(frame.frame)
    named = [*arguments.args]
    named += [f"*{arguments.varargs}"] if arguments.varargs else []
    named += [f"**{arguments.keywords}"] if arguments.keywords else []
    return f", in {name}({', '.join(named)})"


def _lines(frame: Any) -> Iterator[str]:
    from stack_data.core import LINE_GAP

    for line in frame.lines:
        if line is LINE_GAP:
            yield "   (...)"
            continue
        number = str(line.lineno)
        if line.is_current:
            number = f"{'-' * (5 - len(number))}> {number}"
        yield f"{number:>7} {line.render().rstrip()}"
