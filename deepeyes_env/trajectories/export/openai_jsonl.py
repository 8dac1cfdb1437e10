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
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import content_parts, envelope, with_images_in_user_messages
from deepeyes_env.files import replacing
from deepeyes_env.images import codec
from deepeyes_env.images.files import MIME, portable_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.strict_json import plain
from deepeyes_env.trajectories.export.conversation import Conversation

MAX_IMAGES = 10
"""Images in an example, at most."""

MAX_IMAGE_BYTES = 10_000_000
"""Bytes of an image, at most."""

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What the name of a function may be."""


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
            record: dict[str, Any] = {"messages": list(_messages(conversation))}
            if conversation.tools:
                record["tools"] = list(conversation.tools)
            file.write(json.dumps(record, default=plain) + "\n")


def _messages(conversation: Conversation) -> Iterator[Mapping[str, Any]]:
    if conversation.system:
        yield {"role": "system", "content": conversation.system}
    for message in with_images_in_user_messages(conversation.messages):
        written = envelope(message)
        if message.images:
            written["content"] = [_part(part) for part in content_parts(message)]
        elif message.text or not message.calls:
            written["content"] = message.text
        if message.role == "assistant":
            written["weight"] = int(message.trainable)
        yield written


def _part(part: str | ImageRef) -> dict[str, Any]:
    return {"type": "text", "text": part} if isinstance(part, str) else _image_part(part)


def _image_part(image: ImageRef) -> dict[str, Any]:
    data, extension = portable_image(image)
    if len(data) > MAX_IMAGE_BYTES:
        data, extension = codec.encode(image.pixels(), format="jpeg"), "jpg"
    url = f"data:{MIME[extension]};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
