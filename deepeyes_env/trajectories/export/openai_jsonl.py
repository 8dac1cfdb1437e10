"""OpenAI fine-tuning JSONL, with images: one conversation a line, as the chat completions API takes them.

Images are data URLs in user messages, the only place where the API takes them; so the images that native calls
returned follow the tool messages in a user message of their own, as ``agents.openai`` sends them to such a server.
``weight`` is 0 on assistant messages not to learn from. The format: the guides "Supervised fine-tuning" and
"Vision fine-tuning" on developers.openai.com.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.files import replacing
from deepeyes_env.images import codec
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols.native import RETURNED, without_images
from deepeyes_env.strict_json import plain
from deepeyes_env.trajectories.export.conversation import ChatMessage, Conversation
from deepeyes_env.trajectories.export.pictures import portable

MAX_IMAGES = 10
"""Images in an example, at most."""

MAX_IMAGE_BYTES = 10_000_000
"""Bytes of an image, at most."""

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the name of a function may be."""

MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


def reason_to_skip(conversation: Conversation) -> str:
    """Return why a conversation has no place in the format; empty if it has."""
    if len(conversation.images) > MAX_IMAGES:
        return f"more than {MAX_IMAGES} images"
    if not any(message.trainable for message in conversation.messages if message.role == "assistant"):
        return "no message to learn from"
    for message in conversation.messages:
        if not all(NAME.fullmatch(call.name) for call in message.calls):
            return "a call of a name that no function can have"
    return ""


def write_openai(conversations: Iterable[Conversation], path: Path) -> None:
    """Write a fine-tuning file. Images of more than 10 MB become JPEG.

    Raises:
        ImageError: An image cannot be read.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        for conversation in conversations:
            record: dict[str, Any] = {"messages": list(_messages(delivered(conversation)))}
            if conversation.tools:
                record["tools"] = list(conversation.tools)
            file.write(json.dumps(record, default=plain) + "\n")


def delivered(conversation: Conversation) -> Conversation:
    """Return a conversation with the images of tools' messages moved to a user's message after them."""
    messages: list[ChatMessage] = []
    returned: tuple[ImageRef, ...] = ()
    for message in conversation.messages:
        if message.role != "tool" and returned:
            messages.append(ChatMessage("user", RETURNED + IMAGE_PLACEHOLDER * len(returned), returned))
            returned = ()
        if message.role == "tool" and message.images:
            returned += message.images
            message = replace(message, text=without_images(message.text), images=())
        messages.append(message)
    return replace(conversation, messages=tuple(messages))


def _messages(conversation: Conversation) -> Iterator[Mapping[str, Any]]:
    if conversation.system:
        yield {"role": "system", "content": conversation.system}
    for message in conversation.messages:
        if message.role == "assistant":
            yield _assistant(message)
        elif message.role == "user":
            yield {"role": "user", "content": list(_parts(message)) if message.images else message.text}
        else:
            yield {"role": "tool", "tool_call_id": message.call_id, "content": message.text}


def _assistant(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant"}
    if message.text:
        said["content"] = message.text
    if message.calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments), default=plain)},
            }
            for call in message.calls
        ]
    return {**said, "weight": int(message.trainable)}


def _parts(message: ChatMessage) -> Iterator[dict[str, Any]]:
    first, *rest = message.text.split(IMAGE_PLACEHOLDER)
    if first:
        yield {"type": "text", "text": first}
    for image, text in zip(message.images, rest, strict=True):
        yield _image_part(image)
        if text:
            yield {"type": "text", "text": text}


def _image_part(image: ImageRef) -> dict[str, Any]:
    data, extension = portable(image)
    if len(data) > MAX_IMAGE_BYTES:
        data, extension = codec.encode(image.pixels(), format="jpeg"), "jpg"
    url = f"data:{MIME[extension]};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
