"""Protocol: how a model writes a tool call or an answer, and how the environment writes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, ToolResult

T = TypeVar("T")

MAX_QUOTE = 80
"""How many characters of a model's own text an error repeats at most."""


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """Something that was meant as a tool call and cannot be read as one.

    Attributes:
        error: What is wrong and how to write it right.
    """

    error: str


ParsedCall: TypeAlias = ToolCall | MalformedCall


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """An assistant message, taken apart.

    Attributes:
        answer: The final answer; ``None`` if there is none. An answer wins over calls.
        calls: The calls to run, in order.
        skipped: How many further calls the message holds that the protocol does not run.
    """

    answer: str | None = None
    calls: tuple[ParsedCall, ...] = ()
    skipped: int = 0


class Protocol(ABC):
    """How one dialect writes prompts, calls, answers and observations.

    Parsing never raises and takes time linear in the message, whatever the model wrote.
    """

    @abstractmethod
    def parse(self, message: str) -> ParsedMessage:
        """Take an assistant message apart."""

    def select(self, calls: Sequence[T]) -> Sequence[T]:
        """Return those calls of a message that are run; all of them by default."""
        return calls

    @abstractmethod
    def system_prompt(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Return the system prompt that explains the tools of these OpenAI-style schemas; may be empty."""

    @abstractmethod
    def instructions(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Return what is added to the question in the first user message."""

    @abstractmethod
    def format_call(self, call: ToolCall) -> str:
        """Write a call so that ``parse`` reads it back."""

    def format_answer(self, answer: str) -> str:
        """Write an answer so that ``parse`` reads it back."""
        return f"<answer>{answer}</answer>"

    @abstractmethod
    def reply(self, results: Sequence[ToolResult], skipped: int) -> str:
        """Write the results of a message's calls, with one ``<image>`` placeholder per image."""


def neutral(text: str) -> str:
    """Take the power out of text that did not come from the environment's author, before it enters an observation.

    ``<image>`` would upset the count of placeholders, ``<|...|>`` could close the chat turn, and lone surrogates cannot
    be written as UTF-8.
    """
    if "<" in text:
        text = text.replace(IMAGE_PLACEHOLDER, "< image >").replace("<|", "< |")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def quote(text: str) -> str:
    """Repeat at most ``MAX_QUOTE`` characters of a model's text, in quotation marks and made harmless."""
    shortened = text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."
    return neutral(repr(shortened))
