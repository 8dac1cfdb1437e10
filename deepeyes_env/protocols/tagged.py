"""Protocols that write each call as JSON between two marks: the original's v1 to v5."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deepeyes_env.core import IMAGE_MARK, IMAGE_PLACEHOLDER, ToolCall, ToolResult
from deepeyes_env.protocols.protocol import MalformedCall, ParsedCall, ParsedMessage, Protocol, T, neutral, quote
from deepeyes_env.protocols.scan import Span, cut_out, find_json_spans
from deepeyes_env.protocols.tags import ANSWER, THINK, TOOL_CALL, TOOL_RESPONSE, TOOLS, Tag, after_thought
from deepeyes_env.protocols.template import PromptTemplate
from deepeyes_env.strict_json import plain, read_json, why_not_json

Style = Literal["named", "flat"]
"""``named``: ``{"name": ..., "arguments": {...}}``. ``flat``: ``{"function": "zoom_in", "bbox_2d": [...], ...}``."""

FLAT_NAMES = {"zoom_in": "image_zoom_in_tool", "rotate": "image_rotate_tool"}
"""Names of tools as the flat style writes them, and their own."""

THOUGHT, ANSWERED = THINK.around("..."), ANSWER.around("...")

_GO_ON = f"Think again: call another tool if you need to see more, or give the final answer in {ANSWER.around('')}."
_GO_ON_FLAT = f"If this is enough, write {ANSWERED}; otherwise ask for another part in the same way."

_FLAT_NAMES_BACK = {name: short for short, name in FLAT_NAMES.items()}


@dataclass(frozen=True)
class TaggedProtocol(Protocol):
    """Calls as JSON between an opening and a closing mark, answers in ``<answer>`` tags.

    Attributes:
        opening: Mark before a call.
        closing: Mark after a call.
        style: How the JSON names its tool; see ``Style``.
        max_calls: How many calls of one message are run.
        keep: Which calls are run if there are more.
        explain: Whether the tools are explained in the system prompt (``True``) or after the question.
        row_reply: How results are written in an episode that opened with a row's own prompt; by default as ever.
    """

    opening: str = TOOL_CALL.opening
    closing: str = TOOL_CALL.closing
    style: Style = "named"
    max_calls: int = 1
    keep: Literal["first", "last"] = "last"
    explain: bool = True
    row_reply: PromptTemplate | None = None

    def parse(self, message: str) -> ParsedMessage:
        """Take an assistant message apart; its last answer wins, outside the thought and the calls.

        An ``<answer>`` that is not closed, of a message that was cut off, counts where there is nothing else.
        """
        spans = find_json_spans(message, self.opening, self.closing)
        outside = spans
        if spans and message.find(THINK.closing, spans[0].inner) >= 0:
            outside = [span for span in spans if self._is_outside(message, span)]
        said = after_thought(cut_out(message, outside))
        answer = tagged_answer(said)
        if answer is None and not spans and self.opening not in said:
            answer = unclosed_answer(said)
        if answer is not None:
            return ParsedMessage(answer=answer)
        kept = self.select(spans)
        calls = tuple(self._read(message, span) for span in kept)
        return ParsedMessage(calls=calls, skipped=len(spans) - len(kept), recordable=True)

    def select(self, calls: Sequence[T]) -> Sequence[T]:
        """Return the first or the last ``max_calls`` calls."""
        return calls[: self.max_calls] if self.keep == "first" else calls[-self.max_calls :]

    def _is_outside(self, message: str, span: Span) -> bool:
        """Whether a span hides no end of a thought: one that a mark in the thought seems to open does."""
        hidden = THINK.closing in message[span.inner : span.outer]
        return not hidden or isinstance(self._read(message, span), ToolCall)

    def _read(self, message: str, span: Span) -> ParsedCall:
        written = message[span.inner : span.outer].strip()
        try:
            value = read_json(written)
        except ValueError as error:
            reason = neutral(why_not_json(error, written))
            return MalformedCall(f"the tool call is not valid JSON ({reason}): {quote(written)}; {self._usage()}")
        if self.style == "flat" and isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, dict):
            return MalformedCall(f"the tool call must be one JSON object, not {quote(written)}; {self._usage()}")
        if self.style == "flat":
            name, arguments = value.pop("function", None), value
        else:
            name, arguments = value.get("name"), value.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return MalformedCall(f"the tool call lacks a name or an object of arguments; {self._usage()}")
        return ToolCall(FLAT_NAMES.get(name, name) if self.style == "flat" else name, arguments)

    def _usage(self) -> str:
        if self.style == "flat":
            return f'write {self.opening}{{"function": "zoom_in", "bbox_2d": [x1, y1, x2, y2]}}{self.closing}'
        return f'write {self.opening}{{"name": <function-name>, "arguments": <object>}}{self.closing}'

    def format_call(self, call: ToolCall) -> str:
        """Write a call as JSON between the marks."""
        body: Mapping[str, Any]
        if self.style == "flat":
            body = {"function": _FLAT_NAMES_BACK.get(call.name, call.name), **call.arguments}
        else:
            body = {"name": call.name, "arguments": dict(call.arguments)}
        return f"{self.opening}\n{json.dumps(body, default=plain)}\n{self.closing}"

    def format_message(self, thought: str, action: ToolCall | str) -> str:
        """Write a thought in ``<think>`` tags, then the call or the answer."""
        written = self.format_call(action) if isinstance(action, ToolCall) else self.format_answer(action)
        return THINK.around(thought) + written

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of a call and of the answer."""
        return (Tag(self.opening, self.closing), ANSWER)

    @property
    def ending_tags(self) -> tuple[Tag, ...]:
        """The tags of a call and of the answer.

        Where several calls of a message are run, the first one does not end it. A closing mark that is part of the
        opening one, as with fenced blocks, would end a message before its call.
        """
        first_call_ends = self.max_calls == 1 and self.closing not in self.opening
        return self.tags if first_call_ends else (ANSWER,)

    @property
    def has_native_form(self) -> bool:
        """Whether a call is written as a name and its arguments; then its text is found between the marks."""
        return self.style == "named"

    def split_calls(self, message: str, count: int) -> tuple[str, tuple[str, ...]]:
        """Take the last ``count`` calls out of a message."""
        spans = find_json_spans(message, self.opening, self.closing)[-count:] if count else []
        if not spans:
            return message, ()
        # A mark that a thought only mentions seems to open the call behind it.
        start = message.rfind(self.opening, spans[0].start, spans[0].outer)
        return message[:start], tuple(message[span.inner : span.outer] for span in spans)

    def system_prompt(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Explain the tools in the Hermes format that Qwen's chat models were trained on."""
        return hermes_prompt(schemas, several=self.max_calls > 1) if self.explain and schemas else ""

    def instructions(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Say how to reply: think, then call or answer."""
        if not schemas:
            return f"\nThink first, then answer: {THOUGHT}{ANSWERED}"
        if self.explain:
            calls = " one or more times" if self.max_calls > 1 else ""
            names = ", ".join(schema["function"]["name"] for schema in schemas)
            return (
                f"\nThink first. If you need to look closer, call a tool ({names}){calls}; otherwise answer. Write "
                f"{THOUGHT} and then either {TOOL_CALL.around('...')} or {ANSWERED}."
            )
        return (
            f"\nIf you can answer from the images you have seen, write {ANSWERED}. If not, ask to see a part "
            f"of the image larger:\n{self.opening}\n"
            '{"function": "zoom_in", "bbox_2d": [x1, y1, x2, y2], "label": "what is there"}'
            f"\n{self.closing}\nThe enlarged part is shown to you next."
        )

    def reply(self, results: Sequence[ToolResult], skipped: int) -> str:
        """Write each result in ``<tool_response>`` tags, then what to do next."""
        parts = [TOOL_RESPONSE.around(response_text(result)) for result in results]
        if skipped:
            which = "last" if self.keep == "last" else f"first {self.max_calls}"
            parts.append(f"{skipped} more calls were not run: only the {which} of a message.")
        parts.append(_GO_ON if self.explain else _GO_ON_FLAT)
        return "\n".join(parts)


def response_text(result: ToolResult) -> str:
    """Write one result: its text and a placeholder per image, with its name where calls name it; or the error.

    Images follow the text, unless it says where each belongs (``IMAGE_MARK``).
    """
    if result.status != "ok":
        return f"Error: {neutral(result.error)}"
    text, names = neutral(result.text) if result.text else "", result.names
    images = [f"{name}: {IMAGE_PLACEHOLDER}" for name in names] or [IMAGE_PLACEHOLDER] * len(result.images)
    if text and images and text.count(IMAGE_MARK) == len(images):
        first, *rest = text.split(IMAGE_MARK)
        return first + "".join(image + piece for image, piece in zip(images, rest, strict=True))
    return "\n".join(filter(None, (text, *images))) if names else text + "".join(images)


def tagged_answer(said: str) -> str | None:
    """Return the content of the last ``<answer>...</answer>``, stripped; ``None`` if there is none or it is empty.

    It begins at the last mark that any closing one follows: one that is only mentioned before it opens nothing.
    """
    end = said.rfind(ANSWER.closing)
    start = said.rfind(ANSWER.opening, 0, end) if end > 0 else -1
    if start < 0:
        return None
    inner = start + len(ANSWER.opening)
    return said[inner : said.find(ANSWER.closing, inner)].strip() or None


def unclosed_answer(said: str) -> str | None:
    """Return what stands behind an ``<answer>`` that is never closed, stripped; ``None`` if there is none."""
    _, mark, rest = said.rpartition(ANSWER.opening)
    return (rest.strip() or None) if mark and ANSWER.closing not in rest else None


def bare_answer(said: str) -> str | None:
    """Return a text without marks as the answer; ``None`` if it is blank, or a thought that was cut off."""
    said = said.strip()
    return None if said.startswith(THINK.opening) else said or None


def hermes_prompt(schemas: Sequence[dict[str, Any]], *, several: bool) -> str:
    """Return a system prompt that lists function signatures within ``<tools>`` tags."""
    tools = "\n".join(json.dumps(schema) for schema in schemas)
    how_many = "one or more tools in a message" if several else "one tool in a message"
    return (
        "You are a helpful assistant that can look at images closely.\n\n"
        "# Tools\n\n"
        f"You can call {how_many}. Their signatures stand within {TOOLS.around('')}:\n"
        f"{TOOLS.opening}\n{tools}\n{TOOLS.closing}\n\n"
        f"To call a tool, write a JSON object with its name and arguments within {TOOL_CALL.around('')}:\n"
        + TOOL_CALL.around('\n{"name": <function-name>, "arguments": <args-json-object>}\n')
    )
