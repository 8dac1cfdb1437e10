"""The process in which ``.maths.MathJudge`` runs math-verify; started by file name, speaks JSON lines.

First line out: ``null`` when ready, or a string that says what is wrong. Then for each line in ``[prediction, answer]``
one line out: ``true``, ``false``, or ``null`` where one of the two is not a mathematical expression.

An expression such as ``9^{9^9}`` keeps the interpreter inside one C call for hours, where neither a Python signal
handler nor another thread can stop it. So the process asks the system to end it at the deadline.
"""

from __future__ import annotations

import contextlib
import json
import logging
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

MEMORY_LIMIT = 4 * 2**30
"""Address space in bytes that an expression may take before it counts as not understood."""


def load() -> Callable[[str, str], bool | None]:
    """Import math-verify (about a second) and return the function that compares a prediction with an answer."""
    from math_verify import LatexExtractionConfig, parse, verify

    logging.disable(logging.CRITICAL)
    latex = [LatexExtractionConfig(boxed_match_priority=0)]

    def read(text: str) -> list[Any]:
        # In a box the whole text counts: outside, math-verify would take the last number of "13 or 12".
        return list(parse(f"\\boxed{{{text}}}", latex, fallback_mode="no_fallback", parsing_timeout=None))

    def compare(prediction: str, answer: str) -> bool | None:
        gold, given = read(answer), read(prediction)
        return verify(gold, given, timeout_seconds=None) if gold and given else None

    compare("1", "1")
    return compare


def main(seconds: float) -> None:
    """Answer requests on standard input until it closes; each has ``seconds``."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out, sys.stdout = sys.stdout, sys.stderr
    try:
        compare = load()
    except Exception as error:
        out.write(json.dumps(f"{type(error).__name__}: {error}") + "\n")
        out.flush()
        return
    out.write("null\n")
    out.flush()
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            reply = compare(*json.loads(line))
        except Exception:
            reply = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]))
