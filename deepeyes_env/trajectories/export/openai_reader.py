"""Reading OpenAI fine-tuning JSONL, and checking it as the service would."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import ChatMessage
from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall
from deepeyes_env.data.fields import checked, from_json, get, json_lines, read_tools
from deepeyes_env.errors import DataError
from deepeyes_env.images.files import MIME, image_extension
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories.export.conversation import Conversation
from deepeyes_env.trajectories.export.openai_jsonl import MAX_IMAGE_BYTES, MAX_IMAGES, NAME


def read_openai(path: Path) -> Iterator[Conversation]:
    """Read what ``write_openai`` wrote.

    Ids are line numbers. Images that tools returned stand in the user's message after theirs.

    Raises:
        DataError: A line is wrong; the message names line, message and field.
    """
    for number, (where, record) in enumerate(json_lines(path), start=1):
        try:
            yield _Reader(record).conversation(str(number))
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error


class _Reader:
    """Reads one line, message by message."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._written = get(record, "messages", list, "")
        self._tools = read_tools(record["tools"], "tools") if "tools" in record else ()
        self._messages: list[ChatMessage] = []
        self._open: list[str] = []  # ids of calls that wait for their results

    def conversation(self, id: str) -> Conversation:
        """Read all messages.

        Raises:
            ValueError: A message is none, or stands where it cannot.
        """
        system = ""
        for i, message in enumerate(self._written):
            where = f"messages[{i}]"
            role = get(message, "role", str, where)
            if role == "system" and i == 0:
                system = get(message, "content", str, where)
            elif role == "user":
                self._user(message, where)
            elif role == "assistant":
                self._assistant(message, where)
            elif role == "tool":
                self._tool(message, where)
            else:
                raise ValueError(f"{where}.role {role!r} cannot stand here")
        self._check_end()
        return Conversation(id, tuple(self._messages), system, self._tools)

    def _check_end(self) -> None:
        if not self._messages or self._messages[-1].role != "assistant":
            raise ValueError("messages must end with one of the assistant")
        if not any(message.trainable for message in self._messages if message.role == "assistant"):
            raise ValueError("messages holds no assistant message of weight 1")
        images = sum(len(message.images) for message in self._messages)
        if images > MAX_IMAGES:
            raise ValueError(f"messages holds {images} images; an example may have {MAX_IMAGES}")

    def _user(self, message: Mapping[str, Any], where: str) -> None:
        self._check_no_open(where)
        text, images = _content(message.get("content"), f"{where}.content")
        if not text:
            raise ValueError(f"{where}.content is empty")
        self._messages.append(ChatMessage("user", text, images))

    def _assistant(self, message: Mapping[str, Any], where: str) -> None:
        self._check_no_open(where)
        if not any(earlier.role == "user" for earlier in self._messages):
            raise ValueError(f"{where}: a user's message must come first")
        calls = tuple(self._call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(_calls(message, where)))
        text = get(message, "content", str, where) if "content" in message or not calls else ""
        if not text and not calls:
            raise ValueError(f"{where}.content is empty")
        weight = message.get("weight", 1)
        if weight not in (0, 1):
            raise ValueError(f"{where}.weight must be 0 or 1, not {weight!r}")
        self._open = [call.id for call in calls]
        self._messages.append(ChatMessage("assistant", text, calls=calls, trainable=bool(weight)))

    def _call(self, call: Any, where: str) -> ToolCall:
        if get(call, "type", str, where) != "function":
            raise ValueError(f"{where}.type must be 'function', not {call['type']!r}")
        function = get(call, "function", dict, where)
        name = get(function, "name", str, f"{where}.function")
        if not NAME.fullmatch(name):
            raise ValueError(f"{where}.function.name {name!r:.80} is not up to 64 letters, digits, _ and -")
        written = get(function, "arguments", str, f"{where}.function")
        arguments = checked(
            from_json(written, f"{where}.function.arguments"), dict, f"{where}.function.arguments, parsed,"
        )
        return ToolCall(name, arguments, get(call, "id", str, where))

    def _tool(self, message: Mapping[str, Any], where: str) -> None:
        id, text = get(message, "tool_call_id", str, where), get(message, "content", str, where)
        if id not in self._open:
            waiting = ", ".join(map(repr, self._open)) or "none"
            raise ValueError(f"{where}.tool_call_id {id!r} is not that of a call waiting for its result ({waiting})")
        self._open.remove(id)
        self._messages.append(ChatMessage("tool", text, call_id=id))

    def _check_no_open(self, where: str) -> None:
        if self._open:
            raise ValueError(f"{where}: no tool message yet for the calls {', '.join(map(repr, self._open))}")


def _calls(message: Mapping[str, Any], where: str) -> list[Any]:
    return get(message, "tool_calls", list, where) if "tool_calls" in message else []


def _content(content: Any, where: str) -> tuple[str, tuple[ImageRef, ...]]:
    if isinstance(content, str):
        return content, ()
    text, images = "", []
    for i, part in enumerate(checked(content, list, where)):
        kind = get(part, "type", str, f"{where}[{i}]")
        if kind == "text":
            text += get(part, "text", str, f"{where}[{i}]")
        elif kind == "image_url":
            url = get(get(part, "image_url", dict, f"{where}[{i}]"), "url", str, f"{where}[{i}].image_url")
            images.append(_image(url, f"{where}[{i}].image_url.url"))
            text += IMAGE_PLACEHOLDER
        else:
            raise ValueError(f"{where}[{i}].type must be 'text' or 'image_url', not {kind!r}")
    return text, tuple(images)


def _image(url: str, where: str) -> ImageRef:
    head, comma, written = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise ValueError(f"{where} must be a data URL in base64, not {url[:40]!r}...")
    mime = head.removeprefix("data:").removesuffix(";base64")
    try:
        data = base64.b64decode(written, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{where} is not base64: {error}") from error
    if mime != (right := MIME.get(image_extension(data[:16]), "none of JPEG, PNG and WebP")):
        raise ValueError(f"{where} says {mime!r}, and the image is {right}")
    if len(data) > MAX_IMAGE_BYTES:
        raise ValueError(f"{where} is an image of {len(data)} bytes; {MAX_IMAGE_BYTES} are allowed")
    image = ImageRef(data)
    try:
        _ = image.size
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return image
