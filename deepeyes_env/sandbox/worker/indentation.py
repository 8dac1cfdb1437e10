"""Mends the indentation of a program that does not compile; one that compiles is never touched.

The original's mender takes every program apart, and changes what 12 of 40 programs print.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator

_MOST_SHIFTS = 20
_LEADING = re.compile(r"^[ \t]+", re.MULTILINE)


def mended(code: str) -> tuple[str, str | None]:
    """Return a program that compiles if a change of its indentation alone can make it so.

    Args:
        code: The program as it was written.

    Returns:
        The program, mended or as it was; and what was done, if anything was.
    """
    if not isinstance(_problem(code), IndentationError):
        return code, None
    for attempt, done in _attempts(code):
        if attempt != code and _problem(attempt) is None:
            return attempt, f"the indentation was mended: {done}"
    return code, None


def _attempts(code: str) -> Iterator[tuple[str, str]]:
    yield textwrap.dedent(code), "what all lines are indented by was removed"
    yield code.lstrip(" \t"), "blanks before the first line were removed"
    for width in (4, 8):
        yield _LEADING.sub(lambda found: found[0].expandtabs(width), code), f"tabs became {width} blanks"  # noqa: B023
    yield _shifted(textwrap.dedent(code.expandtabs(4))), "lines that were indented for no reason were moved back"


def _shifted(code: str) -> str:
    """Move every block back that is indented without anything that opens it."""
    for _ in range(_MOST_SHIFTS):
        problem = _problem(code)
        if not isinstance(problem, IndentationError) or "unexpected indent" not in str(problem):
            return code
        lines = code.split("\n")
        first = (problem.lineno or 1) - 1
        before = next((line for line in reversed(lines[:first]) if line.strip()), "")
        shift = _indent(lines[first]) - _indent(before)
        if shift <= 0:
            return code
        last = first
        while last < len(lines) and (not lines[last].strip() or _indent(lines[last]) >= _indent(lines[first])):
            last += 1
        moved = [line[shift:] if line.strip() else line for line in lines[first:last]]
        code = "\n".join([*lines[:first], *moved, *lines[last:]])
    return code


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _problem(code: str) -> Exception | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<string>", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        return error
    return None
