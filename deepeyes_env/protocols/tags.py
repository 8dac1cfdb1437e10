"""The tags of the papers' dialects: what marks a thought, a call, an answer and a tool's response in a text."""

from __future__ import annotations

from typing import NamedTuple


class Tag(NamedTuple):
    """A pair of marks around a piece of text.

    Attributes:
        opening: The mark before it.
        closing: The mark after it.
    """

    opening: str
    closing: str

    @classmethod
    def named(cls, name: str) -> Tag:
        """Return the tag ``<name>...</name>``."""
        return cls(f"<{name}>", f"</{name}>")

    def around(self, text: str) -> str:
        """Return the text between the marks."""
        return f"{self.opening}{text}{self.closing}"


THINK = Tag.named("think")
"""Around a thought."""

ANSWER = Tag.named("answer")
"""Around the final answer."""

TOOL_CALL = Tag.named("tool_call")
"""Around a tool call, in the dialects that do not choose other marks."""

TOOL_RESPONSE = Tag.named("tool_response")
"""Around what a tool returned."""

TOOLS = Tag.named("tools")

CODE = Tag.named("code")
"""Around code that is to be run (DeepEyesV2)."""


def after_thought(text: str) -> str:
    """Return what is said, not thought: what stands behind the last ``</think>``; all of it where there is none."""
    return text.rpartition(THINK.closing)[2]
