"""A trajectory as chat messages: what a chat model was told and said, in one form for servers, trainers and files.

``messages_of`` is the one writer of it. ``content_parts`` and ``openai_messages`` bring the messages into the form of
chat completions; adapters to other frameworks begin with them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.envs.toolbox import Toolbox, toolbox_of
from deepeyes_env.images.files import MIME, portable_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import RETURNED, neutral, result_texts, without_images
from deepeyes_env.strict_json import plain, read_json

Calls: TypeAlias = Literal["text", "native"]
"""How tool calls are written.

``text``: as the model wrote them, inside its messages; results come back in user messages. ``native``: as structured
calls beside the text, with tool schemas, results in messages of their own; the model's chat template writes them.
"""

UNREADABLE = "unreadable"
"""The argument under which a native message holds what a call that cannot be read was written as."""


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

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    images: tuple[ImageRef, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    trainable: bool = True
    written: str = field(default="", compare=False)


def messages_of(episode: Trajectory, calls: Calls | None = None) -> tuple[ChatMessage, ...]:
    """Write an episode, running or finished, as chat messages: the system prompt first, if there is one.

    Lone surrogates become ``?``: messages are sent and stored as UTF-8. A native call that cannot be read has its own
    name where that is known, or ``unknown``, and what was written under ``unreadable``.

    Args:
        episode: The episode.
        calls: How to write tool calls. ``None``: as they were made, ``native`` for a toolbox with native calls.

    Raises:
        UnknownNameError: The toolbox is not registered in this process and has to be asked.
    """
    messages = [ChatMessage("system", utf8(episode.system_prompt))] if episode.system_prompt else []
    messages.append(ChatMessage("user", utf8(episode.prompt.text), episode.prompt.images))
    toolbox = None if calls == "text" else toolbox_of(episode)
    native = toolbox is not None and (calls == "native" or toolbox.protocol.native)
    number = 1
    for turn in episode.turns:
        if native and toolbox is not None and turn.results:
            made = list(_native_turn(turn, toolbox, number))
        else:
            made = list(_text_turn(turn))
        messages += made
        number += len(made)
    return tuple(messages)


def _text_turn(turn: Turn) -> Iterator[ChatMessage]:
    yield _assistant(turn, turn.action)
    if turn.observation is not None:
        yield ChatMessage("user", utf8(turn.observation.text), turn.observation.images)


def _native_turn(turn: Turn, toolbox: Toolbox, number: int) -> Iterator[ChatMessage]:
    count = len(turn.results) + turn.skipped
    said, written = toolbox.protocol.split_calls(turn.action, count)
    sources = [*written, *[""] * count]
    calls = tuple(
        _call(result, source, f"call_{number + i}")
        for i, (result, source) in enumerate(zip(turn.results, sources, strict=False))
    )
    yield _assistant(turn, said.strip(), calls)
    for call, result, text in zip(calls, turn.results, result_texts(turn.results, turn.skipped), strict=True):
        yield ChatMessage("tool", text, result.images, call_id=call.id)


def _call(result: ToolResult, written: str, default_id: str) -> ToolCall:
    call = result.call
    if call.name:
        return ToolCall(call.name, dict(call.arguments), call.id or default_id)
    try:
        function = read_json(written)["function"]
        name = function["name"]
    except (ValueError, LookupError, TypeError):
        function, name = {}, ""
    known = isinstance(name, str) and name
    arguments = {UNREADABLE: str(function.get("arguments", written))}
    return ToolCall(name if known else "unknown", arguments, call.id or default_id)


def _assistant(turn: Turn, said: str, calls: tuple[ToolCall, ...] = ()) -> ChatMessage:
    meant = turn.answer is not None or bool(turn.results)
    trainable = meant and all(result.ok for result in turn.results)
    return ChatMessage("assistant", utf8(said), calls=calls, trainable=trainable, written=utf8(turn.action))


def with_images_in_user_messages(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Move the images of tools' messages into a user message after them, for servers that take them nowhere else."""
    moved: list[ChatMessage] = []
    returned: tuple[ImageRef, ...] = ()
    for message in messages:
        if message.role != "tool" and returned:
            moved.append(_returned(returned))
            returned = ()
        if message.role == "tool" and message.images:
            returned += message.images
            message = replace(message, text=without_images(message.text), images=())
        moved.append(message)
    return (*moved, _returned(returned)) if returned else tuple(moved)


def _returned(images: tuple[ImageRef, ...]) -> ChatMessage:
    return ChatMessage("user", RETURNED + IMAGE_PLACEHOLDER * len(images), images)


# --- the form of chat completions ------------------------------------------------------------------------------------


def content_parts(message: Message | ChatMessage) -> list[str | ImageRef]:
    """Return a message's texts and images in their order, with each image where its placeholder is.

    Texts are made harmless: in them ``<image>`` and ``<|`` mean nothing any more.
    """
    pieces = message.text.split(IMAGE_PLACEHOLDER, len(message.images))
    parts: list[str | ImageRef] = [neutral(pieces[0])]
    for image, piece in zip(message.images, pieces[1:], strict=True):
        parts += [image, neutral(piece)]
    return [part for part in parts if part != ""]


def openai_content(
    message: Message | ChatMessage, image_url: Callable[[ImageRef], str] | None = None
) -> str | list[dict[str, Any]]:
    """Return a message's content as chat completions have it: a text, or a list of text and image parts.

    Args:
        message: The message; an environment's observation, say.
        image_url: Writes an image as a URL; by default ``data_url``.
    """
    if not message.images:
        return neutral(message.text)
    url = image_url or data_url
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": url(part)}}
        for part in content_parts(message)
    ]


def openai_messages(episode: Trajectory, image_url: Callable[[ImageRef], str] | None = None) -> list[dict[str, Any]]:
    """Return an episode as the ``messages`` of a chat completions request.

    Args:
        episode: The episode, running or finished.
        image_url: Writes an image as a URL; by default ``data_url``.
    """
    return [{**envelope(message), "content": openai_content(message, image_url)} for message in messages_of(episode)]


def envelope(message: ChatMessage) -> dict[str, Any]:
    """Return a message of chat completions without its content: role, calls, and the call that it answers."""
    written: dict[str, Any] = {"role": message.role}
    if message.calls:
        written["tool_calls"] = [openai_call(call) for call in message.calls]
    if message.role == "tool":
        written["tool_call_id"] = message.call_id
    return written


def openai_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as chat completions have it, its arguments as JSON text."""
    arguments = json.dumps(dict(call.arguments), default=plain)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def data_url(image: ImageRef) -> str:
    """Return an image as a data URL, in bytes that give every decoder the pixels that the policy saw."""
    data, extension = portable_image(image)
    return f"data:{MIME[extension]};base64,{base64.b64encode(data).decode('ascii')}"


def utf8(text: str) -> str:
    """Return a text that can be encoded: lone surrogates become ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
