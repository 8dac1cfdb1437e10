"""No protocol: an ordinary question, answered in one message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepeyes_env.protocols.protocol import ParsedMessage
from deepeyes_env.protocols.tagged import TaggedProtocol, bare_answer, tagged_answer, unclosed_answer
from deepeyes_env.protocols.tags import ANSWER, Tag, after_thought


class PlainProtocol(TaggedProtocol):
    """For samples without a toolbox (hybrid training): whatever the model writes is its answer."""

    def parse(self, message: str) -> ParsedMessage:
        """Take the last ``<answer>`` behind the thought, or else all that is said there, as the answer."""
        said = after_thought(message)
        return ParsedMessage(answer=tagged_answer(said) or unclosed_answer(said) or bare_answer(said))

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of the answer."""
        return (ANSWER,)

    @property
    def ending_tags(self) -> tuple[Tag, ...]:
        """None: the whole message is the answer."""
        return ()

    def system_prompt(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Return nothing: the sample brings its own."""
        return ""

    def instructions(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Return nothing: the question says what it wants."""
        return ""
