"""Conversation: a trajectory as chat messages, the form between a run and every file that a model is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.errors import UnexportableError, UnknownNameError, UsageError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import NativeProtocol, TaggedProtocol
from deepeyes_env.protocols.native import result_texts
from deepeyes_env.protocols.scan import find_json_spans
from deepeyes_env.strict_json import plain

Calls: TypeAlias = Literal["text", "native"]
"""How tool calls are written.

``text``: as the model wrote them, inside its messages; results come back in user messages. ``native``: as structured
calls beside the text, with tool schemas, results in messages of their own; the trainer's chat template writes them.
"""

MEDIA_PLACEHOLDERS = (IMAGE_PLACEHOLDER, "<video>", "<audio>")
"""What trainers replace by media wherever it stands, so that it must not stand where there is none."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message.

    Attributes:
        role: Who speaks. ``tool``: the result of one native call.
        text: What is said, beside the calls. One ``<image>`` per image in messages of users and tools.
        images: The images, as the policy saw them.
        calls: The assistant's native calls.
        call_id: The call that a tool's message answers.
        trainable: Whether to train on it: not on a message whose call failed, nor on one with neither call nor answer.
        written: The assistant's message as it was written, calls included.
    """

    role: Literal["user", "assistant", "tool"]
    text: str
    images: tuple[ImageRef, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    trainable: bool = True
    written: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole episode.

    Attributes:
        id: Id of the sample.
        messages: A user's message first, then in turn the assistant's and the replies; an assistant's last.
        system: The system prompt; may be empty.
        tools: OpenAI-style schemas of the tools; empty where the messages or the system prompt explain them.
        trajectory: Where it comes from; ``None`` for one that was read from a file.
    """

    id: str
    messages: tuple[ChatMessage, ...]
    system: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    trajectory: Trajectory | None = field(default=None, compare=False)

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All images, in the order of their placeholders."""
        return tuple(image for message in self.messages for image in message.images)


def conversation_of(trajectory: Trajectory, calls: Calls | None = None) -> Conversation:
    """Make a conversation of an episode.

    Native calls read as an agent of an endpoint with native calls was told them (``agents.openai``): what was said
    before the first call, then the calls; a result each. What the environment said after the last message is left out.
    Lone surrogates become ``?``, since files are UTF-8.

    Args:
        trajectory: A finished episode.
        calls: How to write tool calls. ``None``: as they were made, ``native`` for a toolbox with native calls.

    Raises:
        UnexportableError: The episode has no messages or an empty one; a text holds a media placeholder where there is
            none; or a call that cannot be read would have to be written natively.
        ValueError: The toolbox's calls cannot be written this way; the message names one that can.
        UnknownNameError: The toolbox is not registered in this process and would have to be asked.
    """
    if not trajectory.turns:
        raise UnexportableError("no messages")
    toolbox = _toolbox(trajectory.toolbox, calls)
    if calls is None:
        calls = "native" if isinstance(toolbox.protocol, NativeProtocol) else "text"
    made = _native(trajectory, toolbox) if calls == "native" else _text(trajectory, toolbox)
    _check(made)
    return made


def _toolbox(name: str, calls: Calls | None) -> Toolbox:
    try:
        return get_toolbox(name) if name else PLAIN
    except UnknownNameError:
        if calls == "text":  # what was said is all there is to write
            return PLAIN
        raise


def _text(trajectory: Trajectory, toolbox: Toolbox) -> Conversation:
    if isinstance(toolbox.protocol, NativeProtocol):
        raise UsageError(
            f"calls='text': the tools of {toolbox.name} were handed to the model beside the messages, which do not "
            "explain them; use calls='native'"
        )
    messages = [_opening(trajectory)]
    for turn in trajectory.turns:
        messages.append(_assistant(turn, turn.action))
        if turn.observation is not None:
            messages.append(ChatMessage("user", utf8(turn.observation.text), turn.observation.images))
    return _conversation(trajectory, messages, utf8(trajectory.system_prompt))


def _native(trajectory: Trajectory, toolbox: Toolbox) -> Conversation:
    protocol = toolbox.protocol
    if not isinstance(protocol, TaggedProtocol) or protocol.style != "named":
        raise UsageError(
            f"calls='native': the prompt of {toolbox.name} asks for calls in a format of its own; use calls='text'"
        )
    schemas = tuple(tool.schema for tool in toolbox.make_tools().values())
    explained = trajectory.system_prompt == protocol.system_prompt(schemas)  # the chat template explains them again
    messages = [_opening(trajectory)]
    for turn in trajectory.turns:
        messages += _native_turn(turn, protocol, len(messages))
    return _conversation(trajectory, messages, "" if explained else utf8(trajectory.system_prompt), schemas)


def _native_turn(turn: Turn, protocol: TaggedProtocol, number: int) -> Iterator[ChatMessage]:
    if not turn.results:
        yield _assistant(turn, turn.action)
        return
    spans = find_json_spans(turn.action, protocol.opening, protocol.closing)
    said = (turn.action[: spans[0].start] if spans else turn.action).strip()
    calls = tuple(_with_id(result, f"call_{number + i}") for i, result in enumerate(turn.results))
    yield _assistant(turn, said, calls)
    for call, result, text in zip(calls, turn.results, result_texts(turn.results, turn.skipped), strict=True):
        yield ChatMessage("tool", text, result.images, call_id=call.id)


def _with_id(result: ToolResult, default: str) -> ToolCall:
    call = result.call
    if not call.name:
        raise UnexportableError("a call that cannot be read, and so has no native form")
    try:
        json.dumps(dict(call.arguments), default=plain, allow_nan=False)
    except ValueError as error:
        raise UnexportableError("a call with a number that JSON has not") from error
    return ToolCall(call.name, dict(call.arguments), call.id or default)


def _opening(trajectory: Trajectory) -> ChatMessage:
    return ChatMessage("user", utf8(trajectory.prompt.text), trajectory.prompt.images)


def _assistant(turn: Turn, said: str, calls: tuple[ToolCall, ...] = ()) -> ChatMessage:
    meant = turn.answer is not None or bool(turn.results)
    trainable = meant and all(result.ok for result in turn.results)
    return ChatMessage("assistant", utf8(said), calls=calls, trainable=trainable, written=utf8(turn.action))


def _conversation(
    trajectory: Trajectory, messages: list[ChatMessage], system: str, tools: tuple[Mapping[str, Any], ...] = ()
) -> Conversation:
    while messages[-1].role != "assistant":
        messages.pop()
    return Conversation(trajectory.sample.id, tuple(messages), system, tools, trajectory)


def _check(conversation: Conversation) -> None:
    texts = [(conversation.system, 0)]
    for message in conversation.messages:
        if message.role == "assistant" and not message.written.strip():
            raise UnexportableError("an empty message")
        texts.append((message.written or message.text, len(message.images)))
    for text, shown in texts:
        for mark in MEDIA_PLACEHOLDERS:
            if text.count(mark) != (shown if mark == IMAGE_PLACEHOLDER else 0):
                raise UnexportableError(f"{mark} in a text where there is none")


def utf8(text: str) -> str:
    """Return a text that can be encoded: lone surrogates become ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
