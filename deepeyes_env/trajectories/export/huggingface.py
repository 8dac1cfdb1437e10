"""A parquet file for Hugging Face ``datasets``: one conversation a row, images inside.

``messages`` has ``{role, content}`` with content in parts, ``{type: "image" | "text", text}``, as chat templates of
transformers and TRL take them; ``text_messages`` the same with content as text and ``<image>`` in it, as verl and
LLaMA-Factory take them. Images belong to the parts, or placeholders, in order. The assistant's content is what the
model wrote, calls included; ``tools`` is JSON text, empty where messages or system prompt explain the tools.

The schema's metadata tells ``datasets`` of its ``Image`` feature; pyarrow alone writes and reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepeyes_env.conversation import ChatMessage, utf8
from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.data.fields import from_json, read_tools
from deepeyes_env.data.parquet import BLOCK_BYTES
from deepeyes_env.errors import DataError, UsageTypeError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import replacing
from deepeyes_env.images.files import portable_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.strict_json import plain
from deepeyes_env.trajectories.export.conversation import MEDIA_PLACEHOLDERS, Conversation

if TYPE_CHECKING:
    import pyarrow

ROW_GROUP = 64
"""Rows in a row group, at most; fewer where images are large."""

_TEXTS = ("question", "answer", "prediction", "data_source", "toolbox", "frame", "stop_reason", "metadata")
_IMAGE = {"_type": "Image"}


def arrow_schema() -> pyarrow.Schema:
    """Return the schema of the file, with the features that ``datasets`` reads from its metadata."""
    pa = import_extra("pyarrow", "data")
    text = pa.string()
    part = pa.struct({"type": text, "text": text})
    columns = {
        "id": text,
        "messages": pa.list_(pa.struct({"role": text, "content": pa.list_(part)})),
        "text_messages": pa.list_(pa.struct({"role": text, "content": text})),
        "images": pa.list_(pa.struct({"bytes": pa.binary(), "path": text})),
        "tools": text,
        "options": pa.list_(text),
        "reward": pa.float64(),
        "correct": pa.bool_(),
        **dict.fromkeys(_TEXTS, text),
    }
    features = {name: _feature(kind) for name, kind in columns.items()} | {"images": [_IMAGE]}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: Any) -> Any:
    """Return how ``datasets`` describes an Arrow type; a list in the form that all its releases read."""
    from pyarrow import types

    if types.is_list(kind):
        return [_feature(kind.value_type)]
    if types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    name = "float64" if types.is_floating(kind) else "bool" if types.is_boolean(kind) else str(kind)
    return {"dtype": name, "_type": "Value"}


def write_huggingface(conversations: Iterable[Conversation], path: Path) -> None:
    """Write the parquet file; one row group is in memory at a time.

    Raises:
        ImageError: An image cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    pa = import_extra("pyarrow", "data")
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, write_batch_size=4) as writer:
        for rows in _groups(conversations):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=ROW_GROUP)


def _groups(conversations: Iterable[Conversation]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    held = 0
    for conversation in conversations:
        rows.append(_row(conversation))
        held += sum(len(image["bytes"]) for image in rows[-1]["images"])
        if len(rows) == ROW_GROUP or held >= BLOCK_BYTES:
            yield rows
            rows, held = [], 0
    if rows:
        yield rows


def _row(conversation: Conversation) -> dict[str, Any]:
    trajectory = conversation.trajectory
    if trajectory is None:
        raise UsageTypeError(f"conversation {conversation.id!r} has no trajectory, whose facts the row would hold")
    sample = trajectory.sample
    spoken = [("system", conversation.system)] if conversation.system else []
    spoken += [(message.role, message.written or message.text) for message in conversation.messages]
    encoded = [portable_image(image) for image in conversation.images]
    return {
        "id": conversation.id,
        "messages": [{"role": role, "content": _parts(role, text)} for role, text in spoken],
        "text_messages": [{"role": role, "content": text} for role, text in spoken],
        "images": [{"bytes": data, "path": f"{i}.{extension}"} for i, (data, extension) in enumerate(encoded)],
        "tools": json.dumps(conversation.tools, default=plain) if conversation.tools else "",
        "options": [utf8(option) for option in sample.options],
        "reward": trajectory.reward,
        "correct": trajectory.right,
        "question": utf8(sample.question),
        "answer": utf8(sample.answer),
        "prediction": None if trajectory.answer is None else utf8(trajectory.answer),
        "data_source": sample.data_source,
        "toolbox": trajectory.toolbox,
        "frame": trajectory.frame,
        "stop_reason": trajectory.stop_reason,
        "metadata": json.dumps(dict(trajectory.metadata), default=plain),
    }


def _parts(role: str, text: str) -> list[dict[str, str | None]]:
    if role in ("assistant", "system"):
        return [{"type": "text", "text": text}]
    first, *rest = text.split(IMAGE_PLACEHOLDER)
    parts: list[dict[str, str | None]] = [{"type": "text", "text": first}]
    for after in rest:
        parts += [{"type": "image", "text": None}, {"type": "text", "text": after}]
    return [part for part in parts if part["text"] != ""]


# --- reading ---------------------------------------------------------------------------------------------------------


def read_huggingface(path: Path) -> Iterator[Conversation]:
    """Read what ``write_huggingface`` wrote. Calls are part of the assistant's texts.

    Raises:
        DataError: The file is no parquet, its schema is another, or a row is wrong; the message says where.
        MissingExtraError: pyarrow is not installed.
    """
    pa = import_extra("pyarrow", "data")
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_schema(file.schema_arrow)
            if not file.metadata.num_rows:
                raise ValueError("has no rows")
            row = 0
            for batch in file.iter_batches(batch_size=4, columns=arrow_schema().names):
                for record in batch.to_pylist():
                    try:
                        yield _conversation(record)
                    except ValueError as error:
                        raise ValueError(f"row {row}: {error}") from error
                    row += 1
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: {error}") from error


def _check_schema(schema: pyarrow.Schema) -> None:
    wanted = arrow_schema()
    if missing := [name for name in wanted.names if name not in schema.names]:
        raise ValueError(f"lacks the columns {', '.join(missing)}; it has {', '.join(schema.names)}")
    for field in wanted:
        if not schema.field(field.name).type.equals(field.type):
            raise ValueError(f"column {field.name!r} is {schema.field(field.name).type}, must be {field.type}")
    written = (schema.metadata or {}).get(b"huggingface", b"{}")
    info = from_json(written.decode(errors="replace"), "the schema's metadata 'huggingface'")
    images = info.get("info", {}).get("features", {}).get("images") if isinstance(info, dict) else None
    if "Image" not in json.dumps(images):
        raise ValueError("the schema's metadata 'huggingface' does not say that images are Image features")


def _conversation(record: dict[str, Any]) -> Conversation:
    for name in ("id", "messages", "text_messages", "images", "tools"):
        if record[name] is None:
            raise ValueError(f"{name} is null")
    images = [_image(entry, f"images[{i}]") for i, entry in enumerate(record["images"])]
    pending = iter(images)
    messages = [_message(message, pending, f"messages[{i}]") for i, message in enumerate(record["messages"])]
    if left := len(list(pending)):
        raise ValueError(f"images has {left} more images than messages has parts of type 'image'")
    for i, (message, text) in enumerate(zip(messages, record["text_messages"], strict=False)):
        if (message.role, message.text) != (text["role"], text["content"]):
            raise ValueError(f"text_messages[{i}] differs from messages[{i}]")
    if len(messages) != len(record["text_messages"]):
        raise ValueError(f"text_messages has {len(record['text_messages'])} messages, messages has {len(messages)}")
    system = messages.pop(0).text if messages and str(messages[0].role) == "system" else ""
    _check_order(messages)
    tools = read_tools(from_json(record["tools"], "tools"), "tools") if record["tools"] else ()
    return Conversation(record["id"], tuple(messages), system, tools)


def _message(message: Any, images: Iterator[ImageRef], where: str) -> ChatMessage:
    text, shown = "", []
    for i, part in enumerate((message or {}).get("content") or ()):
        kind = (part or {}).get("type")
        if kind == "image":
            image = next(images, None)
            if image is None or message["role"] in ("assistant", "system"):
                raise ValueError(
                    f"{where}.content[{i}]: an image for which images has none, or where there can be none"
                )
            shown.append(image)
            text += IMAGE_PLACEHOLDER
        elif kind == "text" and part["text"]:
            if mark := next((mark for mark in MEDIA_PLACEHOLDERS if mark in part["text"]), ""):
                raise ValueError(f"{where}.content[{i}]: {mark} in a text, where there is none")
            text += part["text"]
        else:
            raise ValueError(f"{where}.content[{i}] must be an image or a text, not {part!r:.60}")
    if not text:
        raise ValueError(f"{where} has no content")
    return ChatMessage(message["role"], text, tuple(shown))


def _check_order(messages: list[ChatMessage]) -> None:
    if not messages or messages[0].role != "user" or messages[-1].role != "assistant":
        raise ValueError("messages must begin with the user's, after a system prompt, and end with the assistant's")
    for i, (before, message) in enumerate(pairwise(messages), start=1):
        allowed = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("tool", "assistant")}
        if message.role not in allowed.get(before.role, ()):
            raise ValueError(f"message {i} after the system prompt: role {message.role!r} after {before.role!r}")


def _image(entry: Any, where: str) -> ImageRef:
    if not entry or not entry.get("bytes"):
        raise ValueError(f"{where} has no bytes")
    image = ImageRef(entry["bytes"])
    try:
        _ = image.size
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return image
