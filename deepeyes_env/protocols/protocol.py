"""Protocol: how a model writes a tool call or an answer, and how the environment writes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, ToolResult
from deepeyes_env.fast_init import fast_init
from deepeyes_env.protocols.tags import ANSWER, THINK, Tag
from deepeyes_env.protocols.template import PromptTemplate

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
"""What was found in a message where a call stands."""


@fast_init
@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """An assistant message, taken apart.

    Attributes:
        answer: The final answer, outside the thought; ``None`` if there is none. An answer wins over calls.
        calls: The calls to run, in order.
        skipped: How many further calls the message holds that the protocol does not run.
        recordable: Whether the arguments of its calls are known to be ``strict_json.is_recordable``; else they are
            looked through before they are run.
    """

    answer: str | None = None
    calls: tuple[ParsedCall, ...] = ()
    skipped: int = 0
    recordable: bool = field(default=False, compare=False, repr=False)


class Protocol(ABC):
    """How one dialect writes prompts, calls, answers and observations.

    A subclass says how a call and an answer are written (``format_call``, ``format_answer``), and reads them back
    (``parse``). Whoever writes or reads a whole message asks the protocol and knows no marks of its own. Parsing never
    raises and takes time linear in the message, whatever the model wrote.

    Attributes:
        native: Whether calls travel beside the text of a message, as with function calling: the endpoint explains the
            tools, and the environment does not.
        row_reply: How results are written in an episode that opened with a row's own prompt, whose words go on in them,
            and what the next message begins with; ``None``: as ``reply`` writes them.
    """

    native: ClassVar[bool] = False
    row_reply: PromptTemplate | None = None

    @abstractmethod
    def parse(self, message: str) -> ParsedMessage:
        """Take an assistant message apart.

        The answer found here is the one that is judged, everywhere. What a thought says is none.
        """

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
        """Write a call alone."""

    def format_answer(self, answer: str) -> str:
        """Write an answer alone."""
        return ANSWER.around(answer)

    def format_message(self, thought: str, action: ToolCall | str) -> str:
        """Write a whole assistant message, so that ``parse`` reads its call or its answer back.

        Args:
            thought: What is thought first; may be empty.
            action: The call, or the text of the answer.
        """
        written = self.format_call(action) if isinstance(action, ToolCall) else self.format_answer(action)
        return f"{THINK.around(thought)}\n{written}"

    def thought_of(self, message: str) -> str:
        """Return what was thought in a message, without its marks; empty if nothing was.

        A thought ends at the last ``</think>``, and begins with the message: chat templates write its opening mark.
        """
        return message.rpartition(THINK.closing)[0].strip().removeprefix(THINK.opening).strip()

    @property
    def ending_tags(self) -> tuple[Tag, ...]:
        """The tags whose closing mark ends a message: of its last call, of its answer; none by default."""
        return ()

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Where a server may stop to generate a message: the closing marks of ``ending_tags``."""
        return tuple(tag.closing for tag in self.ending_tags)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of a call and of the answer, whether or not they end a message; ``ending_tags`` by default."""
        return self.ending_tags

    def closed(self, message: str) -> str:
        """Return a message of which the writer said no more with the closing mark that it lacks.

        The mark is that of what the message left open last, unless that is a mere mention: nothing follows it, or
        another call or answer does.
        """
        begun = [(message.rfind(tag.opening), tag) for tag in self.tags if tag.opening in message]
        if not begun:
            return message
        start, tag = max(begun)
        rest = message[start + len(tag.opening) :]
        ended = not rest.strip() or any(other.closing in rest for other in self.tags)
        return message if ended else message + tag.closing

    @property
    def has_native_form(self) -> bool:
        """Whether its prompt and calls can be rewritten as native ones, by ``split_calls``; false by default."""
        return False

    def split_calls(self, message: str, count: int) -> tuple[str, tuple[str, ...]]:
        """Take the calls out of a message.

        Args:
            message: An assistant message.
            count: How many calls it makes. There may be more marks of calls in it: a thought may mention some.

        Returns:
            What stands before the first call, and each call as written, without marks. By default the whole message and
            no calls: what it said cannot be told from what it called.
        """
        return message, ()

    @abstractmethod
    def reply(self, results: Sequence[ToolResult], skipped: int) -> str:
        """Write the results of a message's calls, with one ``<image>`` placeholder per image."""


def neutral(text: str) -> str:
    """Take the power out of text that did not come from the environment's author, before it enters an observation.

    ``<image>`` would upset the count of placeholders, ``<|...|>`` could close the chat turn, and lone surrogates cannot
    be written as UTF-8.
    """
    if "<" in text:
        text = without_marks(text.replace(IMAGE_PLACEHOLDER, "< image >"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def without_marks(text: str) -> str:
    """Break up ``<|``, which begins a chat template's marks."""
    return text.replace("<|", "< |")


def quote(text: str) -> str:
    """Repeat at most ``MAX_QUOTE`` characters of a model's text, in quotation marks and made harmless."""
    shortened = text if len(text) <= MAX_QUOTE else text[:MAX_QUOTE] + "..."
    return neutral(repr(shortened))
