r"""LLaMA-Factory's multimodal ShareGPT: a JSONL file, its images beside it, and ``dataset_info.json``.

A line has ``conversations`` (``{from, value}``, with ``<image>`` for each image), ``system``, ``tools`` (JSON text),
``images`` (paths relative to the file) and the sample's ``id``. ``human`` and ``observation`` alternate with ``gpt``
and ``function_call``. The format: LLaMA-Factory's ``data/README.md`` and ``src/llamafactory/data`` of 0.9.5.

Native calls become ``function_call`` messages: the JSON of a call, or of a list of them. LLaMA-Factory takes a thought
before it in the form ``<think>\n...\n</think>\n\n``; any other text before the JSON needs ``<tool_call>`` around the
JSON, and release 0.9.5. The results of one message are one ``observation``, joined as LLaMA-Factory itself joins them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import ChatMessage
from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall
from deepeyes_env.data.fields import from_json, get, json_lines, read_tools
from deepeyes_env.errors import DataError
from deepeyes_env.files import replacing
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.strict_json import plain
from deepeyes_env.trajectories.export.conversation import MEDIA_PLACEHOLDERS, Conversation
from deepeyes_env.trajectories.export.dataset_info import check_entry, entries_for, write_entry
from deepeyes_env.trajectories.export.pictures import PictureFolder, named_image, shown_images

COLUMNS = {"messages": "conversations", "system": "system", "tools": "tools", "images": "images"}

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_NEXT_RESULT = "\n</tool_response>\n<tool_response>\n"
_THOUGHT = re.compile(r"<think>\n(.*?)\n</think>\n\n", re.DOTALL)
_ASKING = ("human", "observation")
_SAYING = ("gpt", "function_call")


def reason_to_skip(conversation: Conversation) -> str:
    """Return why a conversation has no place in the format; empty if it has."""
    for message in conversation.messages:
        if message.calls and any(mark in message.text + _json(message.calls) for mark in (_OPEN, _CLOSE)):
            return f"a call with {_OPEN} in its text"
        if message.role == "tool" and _NEXT_RESULT in message.text:
            return "a result with </tool_response> in its text"
    return ""


def write_sharegpt(conversations: Iterable[Conversation], path: Path) -> None:
    """Write a data set for LLaMA-Factory: ``path``, its images, and its entry in ``dataset_info.json`` beside it.

    The data set is called like the file, without its suffix. Entries of other data sets stay.

    Raises:
        DataError: There is a ``dataset_info.json`` that is none.
        UsageError: The name is that of another file's data set.
        ImageError: An image cannot be read.
    """
    entries_for(path)  # before the work is done
    pictures = PictureFolder(path.parent)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        for conversation in conversations:
            file.write(json.dumps(_record(conversation, pictures), default=plain) + "\n")
        write_entry(path, {"formatting": "sharegpt", "columns": COLUMNS})  # a file that is there has its entry


def _record(conversation: Conversation, pictures: PictureFolder) -> dict[str, Any]:
    turns: list[dict[str, str]] = []
    for before, message in zip((None, *conversation.messages), conversation.messages, strict=False):
        if message.role == "assistant":
            value = _write_calls(message) if message.calls else message.text
            turns.append({"from": "function_call" if message.calls else "gpt", "value": value})
        elif message.role == "user":
            turns.append({"from": "human", "value": message.text})
        elif before is not None and before.role == "tool":
            turns[-1]["value"] += _NEXT_RESULT + message.text
        else:
            turns.append({"from": "observation", "value": message.text})
    return {
        "id": conversation.id,
        "conversations": turns,
        "system": conversation.system,
        "tools": json.dumps(conversation.tools) if conversation.tools else "",
        "images": [pictures.add(image) for image in conversation.images],
    }


def _json(calls: tuple[ToolCall, ...]) -> str:
    written = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    return json.dumps(written if len(written) > 1 else written[0], default=plain, ensure_ascii=False)


def _write_calls(message: ChatMessage) -> str:
    said, calls = message.text.strip(), _json(message.calls)
    if not said:
        return calls
    thought = said.removeprefix("<think>").removesuffix("</think>")
    if said == f"<think>{thought}</think>" and "<think>" not in thought and "</think>" not in thought:
        return f"<think>\n{thought.strip()}\n</think>\n\n{calls}"
    return f"{said}{_OPEN}{calls}{_CLOSE}"


# --- reading ---------------------------------------------------------------------------------------------------------


def read_sharegpt(path: Path) -> Iterator[Conversation]:
    """Read what ``write_sharegpt`` wrote, and check it as LLaMA-Factory would.

    Native calls are named ``call_1``, ``call_2``, ...; a thought before them comes back as ``<think>...</think>``.

    Raises:
        DataError: The file, its images or its entry in ``dataset_info.json`` are wrong; the message says where.
    """
    check_entry(path, {"formatting": "sharegpt", "columns": COLUMNS})
    images = ImageFolder(path.parent)
    for where, record in json_lines(path):
        try:
            yield _conversation(record, images)
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error


def _conversation(record: dict[str, Any], folder: ImageFolder) -> Conversation:
    images = [named_image(name, folder, f"images[{i}]") for i, name in enumerate(get(record, "images", list, ""))]
    turns = get(record, "conversations", list, "")
    if not turns or len(turns) % 2:
        raise ValueError(f"conversations has {len(turns)} messages; it must be pairs of a question and a reply")
    messages: list[ChatMessage] = []
    pending = iter(images)
    for i, turn in enumerate(turns):
        where = f"conversations[{i}]"
        speaker, value = get(turn, "from", str, where), get(turn, "value", str, where)
        allowed = _SAYING if i % 2 else _ASKING
        if speaker not in allowed:
            raise ValueError(f"{where}.from must be {' or '.join(allowed)}, not {speaker!r}")
        messages += list(_messages(speaker, value, messages, pending, where))
    if left := len(list(pending)):
        raise ValueError(f"images has {left} more images than conversations has {IMAGE_PLACEHOLDER}")
    tools = get(record, "tools", str, "")
    return Conversation(
        get(record, "id", str, ""),
        tuple(messages),
        get(record, "system", str, ""),
        read_tools(from_json(tools, "tools"), "tools") if tools else (),
    )


def _messages(
    speaker: str, value: str, before: list[ChatMessage], images: Iterator[ImageRef], where: str
) -> Iterator[ChatMessage]:
    if speaker in _SAYING:
        if mark := next((mark for mark in MEDIA_PLACEHOLDERS if mark in value), ""):
            raise ValueError(f"{where}.value: {mark} in a reply, where there can be none")
        if not value.strip():
            raise ValueError(f"{where}.value is empty")
        said, calls = _read_calls(value, len(before), where) if speaker == "function_call" else (value, ())
        yield ChatMessage("assistant", said, calls=calls)
    elif speaker == "human":
        if before and before[-1].calls:
            raise ValueError(f"{where}.from must be observation after a function_call, not 'human'")
        yield ChatMessage("user", value, shown_images(value, images, f"{where}.value"))
    else:
        calls, results = (before[-1].calls if before else ()), value.split(_NEXT_RESULT)
        if len(calls) != len(results):
            raise ValueError(f"{where}: an observation of {len(results)} results, after {len(calls)} calls")
        for call, result in zip(calls, results, strict=True):
            yield ChatMessage("tool", result, shown_images(result, images, f"{where}.value"), call_id=call.id)


def _read_calls(value: str, number: int, where: str) -> tuple[str, tuple[ToolCall, ...]]:
    before, opened, rest = value.partition(_OPEN)
    if opened:
        said, written = before, rest.partition(_CLOSE)[0]
    else:
        thought = _THOUGHT.match(value)
        said = f"<think>{thought[1]}</think>" if thought else ""
        written = value[thought.end() :] if thought else value
    parsed = from_json(written, f"{where}.value")
    calls = parsed if isinstance(parsed, list) else [parsed]
    if not calls:
        raise ValueError(f"{where}.value holds no call")
    return said, tuple(
        ToolCall(get(call, "name", str, where), get(call, "arguments", dict, where), f"call_{number + i}")
        for i, call in enumerate(calls)
    )
