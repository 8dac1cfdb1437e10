"""Native tool calls: OpenAI-style assistant messages, and models whose chat template writes the calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, ToolResult
from deepeyes_env.protocols.protocol import MalformedCall, ParsedCall, ParsedMessage, Protocol, neutral, quote
from deepeyes_env.protocols.tagged import TaggedProtocol, bare_answer, response_text
from deepeyes_env.protocols.tags import THINK, TOOL_CALL, Tag, after_thought
from deepeyes_env.strict_json import as_json, read_json, why_not_json

RETURNED = "The tools returned:"
"""Opens the user message with images that cannot stand in tool messages."""


class NativeProtocol(TaggedProtocol):
    """For endpoints with function calling: the schemas travel beside the messages.

    As text the calls are written in the Hermes format, ``<tool_call>{"name": ..., "arguments": {...}}</tool_call>``. A
    message without a call is the answer: the content of its last ``<answer>`` tags, else all that follows
    ``</think>``. One that was cut off in the middle of a call is neither.
    """

    native = True

    def __init__(self, max_calls: int = 3) -> None:
        super().__init__(max_calls=max_calls, keep="first", explain=False)

    def parse(self, message: str) -> ParsedMessage:
        """Take an assistant message apart; text without a call is the answer."""
        parsed = super().parse(message)
        if parsed.answer is not None or parsed.calls:
            return parsed
        said = after_thought(message)
        return ParsedMessage(answer=None if self.opening in said else bare_answer(said))

    @property
    def ending_tags(self) -> tuple[Tag, ...]:
        """None: the endpoint knows where a call ends."""
        return ()

    def format_answer(self, answer: str) -> str:
        """Write the answer as it is."""
        return answer

    def instructions(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Say nothing: the endpoint explains the tools."""
        return ""

    def reply(self, results: Sequence[ToolResult], skipped: int) -> str:
        """Write one result a line; agents send each as a ``tool`` message of its own."""
        lines = [response_text(result) for result in results]
        if skipped:
            lines.append(f"{skipped} more calls were not run: only the first {self.max_calls} of a message.")
        return "\n".join(lines)


def result_texts(results: Sequence[ToolResult], skipped: int) -> list[str]:
    """Write the results of a message's calls as a ``tool`` message each, with a placeholder per image.

    Args:
        results: The results.
        skipped: How many further calls were not run; the last message says so.
    """
    texts = [response_text(result) for result in results]
    if skipped and texts:
        texts[-1] += f"\n{skipped} more calls of your message were not run."
    return texts


def without_images(text: str) -> str:
    """Return the text of a ``tool`` message whose images follow in a user message."""
    return text.replace(IMAGE_PLACEHOLDER, "") or "The image follows."


def read_message(message: Mapping[str, Any], protocol: Protocol) -> tuple[str, ParsedMessage]:
    """Read an OpenAI-style assistant message in any protocol.

    Args:
        message: ``{"role": "assistant", "content": str | list | None, "tool_calls": [{"id", "type": "function",
            "function": {"name", "arguments": JSON text}}]}``. Without ``tool_calls`` the content is parsed by the
            protocol. ``reasoning_content``, a thought that the endpoint took out of the text, goes into ``<think>``
            tags before it, and is not parsed.
        protocol: The protocol of the environment.

    Returns:
        The message as text in the protocol, and the same taken apart. Calls keep their ids.
    """
    content = _content(message.get("content"))
    thought = message.get("reasoning_content")
    told = THINK.around(thought) + content if isinstance(thought, str) and thought else content
    written = message.get("tool_calls")
    if not written or not isinstance(written, Sequence) or isinstance(written, str):
        return told, protocol.parse(content)
    calls = [_read_call(call) for call in written]
    text = "\n".join([told, *(_as_text(call, raw, protocol) for call, raw in zip(calls, written, strict=True))])
    kept = protocol.select(calls)
    return text.lstrip("\n"), ParsedMessage(calls=tuple(kept), skipped=len(calls) - len(kept))


def _content(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "\n".join(text if isinstance(text, str) else "" for text in texts)
    return ""


def read_call(call: ToolCall, protocol: Protocol) -> tuple[str, ParsedMessage]:
    """Read a call that was not written down yet; returns what ``read_message`` does."""
    try:
        call = replace(call, arguments=as_json(dict(call.arguments)))
    except ValueError as error:
        return _hermes(None), ParsedMessage(calls=(_malformed(call.name, str(error)),))
    return _as_text(call, None, protocol), ParsedMessage(calls=(call,))


def portable(action: Any) -> Any:
    """Return an action as another process can be sent it: what JSON cannot hold in it becomes text that says why.

    ``read_message`` and ``read_call`` find the same calls in it; those that could not be sent are malformed there too.
    """
    if isinstance(action, ToolCall):
        try:
            return replace(action, arguments=as_json(dict(action.arguments)))
        except ValueError:
            function = {"name": action.name, "arguments": dict(action.arguments)}
            return {"tool_calls": [_portable_call({"id": action.id, "function": function})]}
    if not isinstance(action, Mapping):
        return action
    thought, calls = action.get("reasoning_content"), action.get("tool_calls")
    sent: dict[str, Any] = {"content": _content(action.get("content"))}
    if isinstance(thought, str):
        sent["reasoning_content"] = thought
    if isinstance(calls, Sequence) and not isinstance(calls, str):
        sent["tool_calls"] = [_portable_call(call) for call in calls]
    return sent


def _portable_call(call: Any) -> Any:
    try:
        return as_json(call)
    except ValueError as error:
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        return {"function": {"name": name, "arguments": f"({error})"}} if isinstance(name, str) else None


def _read_call(call: Any) -> ParsedCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return MalformedCall("the tool call has no function name")
    name, written = function["name"], function.get("arguments")
    try:
        arguments = read_json(written) if isinstance(written, str) and written else as_json(written) or {}
    except ValueError as error:
        return _malformed(name, why_not_json(error, written if isinstance(written, str) else ""))
    if not isinstance(arguments, Mapping):
        return MalformedCall(f"the arguments of {quote(name)} must be a JSON object")
    call_id = call.get("id")
    return ToolCall(name, arguments, id=call_id if isinstance(call_id, str) else "")


def _malformed(name: str, reason: str) -> MalformedCall:
    return MalformedCall(f"the arguments of {quote(name)} are not valid JSON ({neutral(reason[:200])})")


def _as_text(call: ParsedCall, raw: Any, protocol: Protocol) -> str:
    """Write a call as text in a protocol, in tool call tags where the protocol cannot write it."""
    if isinstance(call, ToolCall):
        try:
            return protocol.format_call(call)
        except Exception:  # A user's protocol may know one tool only; what is called is the policy's choice.
            raw = {"name": call.name, "arguments": call.arguments}
    try:
        return _hermes(as_json(raw))
    except ValueError:
        return _hermes(None)


def _hermes(call: Any) -> str:
    return TOOL_CALL.around(f"\n{json.dumps(call)}\n")
