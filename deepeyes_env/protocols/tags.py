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
ANSWER = Tag.named("answer")
TOOL_CALL = Tag.named("tool_call")
TOOL_RESPONSE = Tag.named("tool_response")
TOOLS = Tag.named("tools")
