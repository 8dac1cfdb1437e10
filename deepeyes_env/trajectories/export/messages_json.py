"""Messages of role and content, the form of DeepEyesV2's SFT data: a JSON file, its images beside it.

The file is a list of ``{"messages": [{"role", "content"}], "images": [path]}``; roles are ``system`` (at most the
first), then ``user`` and ``assistant`` in turn. What a tool answers stands in a message of the user's.
``<image>`` in a user's message is the next image. LLaMA-Factory reads it as ``sharegpt`` with tags of its own
(``data/README.md`` of 0.9.5); the entry in ``dataset_info.json`` says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import ChatMessage
from deepeyes_env.data.fields import checked, get
from deepeyes_env.errors import DataError
from deepeyes_env.files import replacing
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.strict_json import read_json
from deepeyes_env.trajectories.export.conversation import MEDIA_PLACEHOLDERS, Conversation
from deepeyes_env.trajectories.export.dataset_info import entries_for, write_entry
from deepeyes_env.trajectories.export.pictures import PictureFolder, named_image, shown_images

ENTRY = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "images": "images"},
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}
"""What ``dataset_info.json`` says of such a file."""


def reason_to_skip(conversation: Conversation) -> str:
    """Return why a conversation has no place in the format; empty if it has."""
    native = conversation.tools or any(message.calls or message.role == "tool" for message in conversation.messages)
    return "calls beside the text, for which messages of role and content have no place" if native else ""


def write_messages(conversations: Iterable[Conversation], path: Path) -> None:
    """Write the file, its images, and its entry in ``dataset_info.json``; the data set is called like the file.

    Raises:
        DataError: There is a ``dataset_info.json`` that is none.
        UsageError: The name is that of another file's data set.
        ImageError: An image cannot be read.
    """
    entries_for(path)  # before the work is done
    pictures = PictureFolder(path.parent)
    with replacing(path) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        for number, conversation in enumerate(conversations):
            file.write((",\n" if number else "[\n") + json.dumps(_record(conversation, pictures)))
        file.write("\n]\n")
        write_entry(path, ENTRY)  # a file that is there has its entry


def _record(conversation: Conversation, pictures: PictureFolder) -> dict[str, Any]:
    system = [{"role": "system", "content": conversation.system}] if conversation.system else []
    said = [{"role": message.role, "content": message.text} for message in conversation.messages]
    images = [pictures.add(image) for image in conversation.images]
    return {"id": conversation.id, "messages": [*system, *said], "images": images}


def read_messages(path: Path) -> Iterator[Conversation]:
    """Read such a file, ours or another's; ``id`` may be missing, and ``images`` where there are none.

    Raises:
        DataError: The file or an image is wrong; the message says where.
    """
    try:
        records = checked(read_json(path.read_text(encoding="utf-8")), list, "it")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}: is no JSON list of conversations ({error})") from error
    if not records:
        raise DataError(f"{path}: is empty")
    images = ImageFolder(path.parent)
    for number, record in enumerate(records):
        try:
            yield _conversation(record, images, f"{path.stem}-{number}")
        except ValueError as error:
            raise DataError(f"{path}, item {number}: {error}") from error


def _conversation(record: Any, folder: ImageFolder, name: str) -> Conversation:
    said = list(get(record, "messages", list, ""))
    names = record.get("images") or []
    images = [named_image(each, folder, f"images[{i}]") for i, each in enumerate(checked(names, list, "images"))]
    offset = int(bool(said) and isinstance(said[0], dict) and said[0].get("role") == "system")
    system = get(said[0], "content", str, "messages[0]") if offset else ""
    turns = said[offset:]
    if not turns or len(turns) % 2:
        raise ValueError(f"messages has {len(turns)} beside the system prompt; it must be pairs of user and assistant")
    pending = iter(images)
    messages = tuple(_message(turn, i, f"messages[{i + offset}]", pending) for i, turn in enumerate(turns))
    if left := len(list(pending)):
        raise ValueError(f"images has {left} more images than messages has <image>")
    return Conversation(str(record.get("id", name)), messages, system)


def _message(turn: Any, number: int, where: str, images: Iterator[ImageRef]) -> ChatMessage:
    role, content = get(turn, "role", str, where), get(turn, "content", str, where)
    wanted = "assistant" if number % 2 else "user"
    if role != wanted:
        raise ValueError(f"{where}.role must be {wanted!r}, not {role!r}")
    if wanted == "user":
        return ChatMessage("user", content, shown_images(content, images, f"{where}.content"))
    if mark := next((mark for mark in MEDIA_PLACEHOLDERS if mark in content), ""):
        raise ValueError(f"{where}.content: {mark} in a reply, where there can be none")
    if not content.strip():
        raise ValueError(f"{where}.content is empty")
    return ChatMessage("assistant", content)
