"""What a policy reads of a cell."""

from __future__ import annotations

from deepeyes_env.sandbox.kernel import CellResult


def code_observation(result: CellResult) -> str:
    """Return the text about a cell in DeepEyesV2's words, up to its images.

    What the sandbox did of its own (an indentation mended, cells run again, images left out) is told in a line below,
    where there is any.
    """
    text = f"Code execution result:\nstdout:\n```\n{result.stdout}\n```\n\nstderr:\n```\n{result.stderr}\n```"
    return "\n\n".join([text, *(f"Note: {note}." for note in result.notes)])
