"""What a policy reads of a cell."""

from __future__ import annotations

import re

from deepeyes_env.sandbox.kernel import CellResult

_STDERR = re.compile(r"\nstderr:\n```\n(.*)\n```", re.DOTALL)
_ERROR = re.compile(r"(\w+(?:Error|Exception|Interrupt|Exit|Iteration))(?::| - |$)")


def code_observation(result: CellResult) -> str:
    """Return the text about a cell in DeepEyesV2's words, up to its images.

    What the sandbox did of its own (an indentation mended, cells run again, images left out) is told in a line below,
    where there is any.
    """
    text = f"Code execution result:\nstdout:\n```\n{result.stdout}\n```\n\nstderr:\n```\n{result.stderr}\n```"
    return "\n\n".join([text, *(f"Note: {note}." for note in result.notes)])


def error_in(text: str) -> str:
    """Return the name of the exception that a cell ended with, from what a policy reads of it; empty if with none.

    That is what the last line of standard error begins with which names an exception.
    """
    found = _STDERR.search(text)
    named = [match[1] for line in (found[1].splitlines() if found else ()) if (match := _ERROR.match(line))]
    return named[-1] if named else ""
