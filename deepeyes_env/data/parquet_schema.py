"""Rows of the DeepEyes-Datasets-47k format, to samples and back.

A row has ``data_source``, ``prompt`` (``{role, content}`` messages, ``<image>`` in the user's), ``images`` (``{bytes,
path}``), ``ability``, ``env_name`` (text or null), ``reward_model`` (``{ground_truth, style}``) and ``extra_info``
(``{question, answer, index, ...}``). Our own rows add to ``extra_info`` what the format has no place for: ``id``,
``options``, ``boxes``, ``box_images``, ``env_name`` (which tells "the environment's own" from "none"), ``metadata`` as
JSON, and ``own_prompt``: whether ``prompt`` is the sample's own, or written of its question.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepeyes_env.core import IMAGE_PLACEHOLDER, Sample
from deepeyes_env.data.fields import box_list_field, index_list_field, names_of, parse_object, text_list_field
from deepeyes_env.images.files import encoded_image
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.sources.named import relative_name
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.prompt_messages import PromptMessage
from deepeyes_env.telling import MOST_QUOTED, quoted

if TYPE_CHECKING:
    import pyarrow

COLUMNS = ("data_source", "prompt", "images", "ability", "env_name", "reward_model", "extra_info")
REQUIRED_COLUMNS = ("prompt", "images", "reward_model")

_OURS = frozenset({"question", "answer", "index", "id", "options", "boxes", "env_name", "metadata"})
_CONSUMED = frozenset({"question", "answer", "boxes", "bbox", "env_name", "own_prompt"})


def arrow_schema() -> pyarrow.Schema:
    """Return the Arrow schema of the rows we write."""
    import pyarrow as pa

    text = pa.string()
    extra_info = {
        "question": text,
        "answer": text,
        "index": pa.int64(),
        "id": text,
        "options": pa.list_(text),
        "boxes": pa.list_(pa.list_(pa.float64())),
        "box_images": pa.list_(pa.int64()),
        "env_name": text,
        "metadata": text,
        "own_prompt": pa.bool_(),
    }
    return pa.schema(
        {
            "data_source": text,
            "prompt": pa.list_(pa.struct({"role": text, "content": text})),
            "images": pa.list_(pa.struct({"bytes": pa.binary(), "path": text})),
            "ability": text,
            "env_name": text,
            "reward_model": pa.struct({"ground_truth": text, "style": text}),
            "extra_info": pa.struct(extra_info),
        }
    )


def check_schema(schema: pyarrow.Schema) -> None:
    """Check that a file's columns have the shape of the format, so that rows need only be checked for nulls.

    Raises:
        ValueError: A column is missing, with those there are; or it has another type.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in schema.names]
    if missing:
        raise ValueError(f"lacks the columns {', '.join(missing)}; it has {names_of(schema.names)}")
    for column, (is_right, wanted) in _column_rules().items():
        if column in schema.names and not is_right(schema.field(column).type):
            kind = str(schema.field(column).type)
            raise ValueError(f"column {column!r} is {kind[: 3 * MOST_QUOTED]}, must be {wanted}")


def _column_rules() -> dict[str, tuple[Callable[[Any], bool], str]]:
    from pyarrow import types

    def is_text(kind: Any) -> bool:
        if types.is_dictionary(kind):  # pandas' category, polars' Categorical and Enum
            return is_text(kind.value_type)
        is_one = (types.is_string, types.is_large_string, types.is_string_view, types.is_null)
        return any(is_kind(kind) for is_kind in is_one)

    def is_bytes(kind: Any) -> bool:
        if types.is_dictionary(kind):
            return is_bytes(kind.value_type)
        is_one = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
        return types.is_null(kind) or any(is_kind(kind) for is_kind in is_one)

    def has(kind: Any, **fields: Callable[[Any], bool]) -> bool:
        return types.is_struct(kind) and all(
            kind.get_field_index(name) >= 0 and is_right(kind.field(name).type) for name, is_right in fields.items()
        )

    def is_list(kind: Any) -> bool:
        is_one = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view)
        return any(is_kind(kind) for is_kind in (*is_one, types.is_large_list_view))

    def are_messages(kind: Any) -> bool:
        return is_list(kind) and has(kind.value_type, role=is_text, content=is_text)

    def are_images(kind: Any) -> bool:
        if not is_list(kind):
            return False
        inner = kind.value_type
        known = {"bytes": is_bytes, "path": is_text}
        names = [name for name in known if types.is_struct(inner) and inner.get_field_index(name) >= 0]
        return bool(names) and has(inner, **{name: known[name] for name in names})

    return {
        "prompt": (are_messages, "a list of {role, content}"),
        "images": (are_images, "a list of {bytes, path}"),
        "reward_model": (types.is_struct, "a struct with ground_truth"),
        "extra_info": (lambda kind: types.is_struct(kind) or types.is_null(kind), "a struct"),
        "data_source": (is_text, "text"),
        "ability": (is_text, "text"),
        "env_name": (is_text, "text or null"),
    }


def sample_of_row(row: Mapping[str, Any], *, default_id: str, images: ImageFolder) -> Sample:
    """Make a sample of a row.

    A row with a toolbox (``env_name``, or the format's column missing altogether) asks ``extra_info.question``, or the
    user turn if that is absent. Its prompt is kept word for word as ``messages``: the environment opens with them, or
    with its protocol's own words. A row without one is an ordinary question: it asks the user turn word for word, and
    the system prompt is kept as ``metadata["system_prompt"]``.

    Args:
        row: The row as Python objects.
        default_id: The id of a row that has none.
        images: Where images that have a path are.

    Raises:
        ValueError: The row is bad; the message says why.
    """
    extra = row.get("extra_info") or {}
    prompt = _prompt(row["prompt"] or (), ours=_is_ours(extra))
    env_name = _env_name(row, extra)
    shown = tuple(_image(entry, images) for entry in row["images"] or ())
    return Sample(
        id=extra["id"] if _is_ours(extra) else default_id,
        question=_question(extra, prompt, plain=env_name is None, images=len(shown)),
        answer=_answer(row, extra),
        images=shown,
        options=_options(extra),
        boxes=box_list_field(_present(extra), "boxes") or box_list_field(_present(extra), "bbox"),
        box_images=index_list_field(_present(extra), "box_images") if _is_ours(extra) else (),
        env_name=env_name,
        data_source=row.get("data_source") or "",
        metadata=_metadata(row, extra, prompt, plain=env_name is None),
        messages=_messages(row, extra, plain=env_name is None),
    )


def _prompt(messages: Iterable[Mapping[str, str] | None], *, ours: bool) -> dict[str, str]:
    """Return the messages of a prompt by role: a system prompt and the one user turn that an episode begins with."""
    if ours:  # whatever it holds beyond that is kept as ``messages``
        return {message["role"]: message["content"] for message in messages if message}
    prompt: dict[str, str] = {}
    for message in messages:
        if not message:
            continue
        role = message["role"]
        if role not in ("system", "user"):
            raise ValueError(f"prompt has a turn of {quoted(role)}; an episode begins with one question, of the user")
        if role in prompt:
            raise ValueError(f"prompt has several turns of the {role}; an episode begins with one: join them")
        prompt[role] = message["content"]
    return prompt


def _options(extra: Mapping[str, Any]) -> tuple[str, ...]:
    options = extra.get("options")
    if isinstance(options, str) and not _is_ours(extra):  # other tools' own text: kept among the metadata
        return ()
    return text_list_field(_present(extra), "options")


def _present(record: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out nulls: in a struct column every row has every key."""
    return {key: value for key, value in record.items() if value is not None}


def _env_name(row: Mapping[str, Any], extra: Mapping[str, Any]) -> str | None:
    if "env_name" not in row:
        return ""
    # The column wins, so that a file can be moved to another toolbox by editing it alone.
    return row["env_name"] or extra.get("env_name")


def _question(extra: Mapping[str, Any], prompt: Mapping[str, str], *, plain: bool, images: int) -> str:
    question = extra.get("question")
    user = prompt.get("user")
    if user is None and question is None:
        raise ValueError("has neither extra_info.question nor a user turn in prompt")
    if user is None or (question is not None and not plain):
        return str(question)
    if question is not None and _is_ours(extra) and (_own_prompt(extra) or user == _user_turn(question, images)):
        return str(question)
    return user


def _is_ours(extra: Mapping[str, Any]) -> bool:
    """Whether we wrote a row: it has all our keys. An ``id`` or ``metadata`` of other tools is theirs."""
    if not (extra.keys() >= _OURS and isinstance(extra["id"], str) and isinstance(extra["metadata"], str)):
        return False
    return extra["metadata"].startswith("{")


def _own_prompt(extra: Mapping[str, Any]) -> bool:
    return bool(extra.get("own_prompt"))


def _messages(row: Mapping[str, Any], extra: Mapping[str, Any], *, plain: bool) -> tuple[PromptMessage, ...]:
    own = _own_prompt(extra) if _is_ours(extra) else not plain
    told = ((message["role"], message["content"]) for message in row["prompt"] or () if message)
    return tuple(PromptMessage(role, content) for role, content in told if None not in (role, content)) if own else ()


def _user_turn(question: str, images: int) -> str:
    return question if IMAGE_PLACEHOLDER in question else f"{IMAGE_PLACEHOLDER}\n" * images + question


def _answer(row: Mapping[str, Any], extra: Mapping[str, Any]) -> str:
    answer = (row["reward_model"] or {}).get("ground_truth")
    answer = extra.get("answer") if answer is None else answer
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        return str(answer)
    if not isinstance(answer, str):
        raise ValueError(
            f"has no answer: neither reward_model.ground_truth nor extra_info.answer is text, got {quoted(answer)}"
        )
    return answer


def _image(entry: Mapping[str, Any] | None, images: ImageFolder) -> ImageRef:
    entry = entry or {}
    if entry.get("bytes"):
        return ImageRef(entry["bytes"], name=entry.get("path") or "")
    if entry.get("path"):
        return images.image(entry["path"])
    raise ValueError("an image has neither bytes nor a path")


def _metadata(
    row: Mapping[str, Any], extra: Mapping[str, Any], prompt: Mapping[str, str], *, plain: bool
) -> dict[str, Any]:
    if _is_ours(extra):
        return parse_object(extra["metadata"].encode())
    read = _CONSUMED | ({"options"} if _options(extra) else set())
    metadata = {key: value for key, value in extra.items() if key not in read and _is_plain(value)}
    metadata["ability"] = row.get("ability")
    metadata["style"] = (row["reward_model"] or {}).get("style")
    if plain:
        metadata["system_prompt"] = prompt.get("system")
    return _present(metadata)


def _is_plain(value: Any) -> bool:
    # Structs are plumbing of trainers (verl's tools_kwargs holds the image again), not facts about the question.
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float | bool)


def _entry(image: ImageRef, folder: Path) -> dict[str, Any]:
    if isinstance(image.source, RegionSource):
        return {"bytes": None, "path": relative_name(image.source, folder)}
    return {"bytes": encoded_image(image), "path": None}


def row_of_sample(sample: Sample, index: int, folder: Path) -> dict[str, Any]:
    """Make a row of a sample; the inverse of ``sample_of_row``.

    Args:
        sample: The sample.
        index: The number of the row in the file.
        folder: Where the file is: paths of slides and documents are written relative to it.

    Raises:
        TypeError: ``metadata`` is not JSON-able.
        ValueError: ``metadata`` is not JSON-able.
        ImageError: An image cannot be read.
    """
    texts = {key: value for key, value in sample.metadata.items() if isinstance(value, str)}
    written = (
        # Readers of the format take the user turn to be the second message.
        PromptMessage("system", texts.get("system_prompt", "")),
        PromptMessage("user", _user_turn(sample.question, len(sample.images))),
    )
    return {
        "data_source": sample.data_source,
        "prompt": [{"role": each.role, "content": each.content} for each in sample.messages or written],
        "images": [_entry(image, folder) for image in sample.images],
        "ability": texts.get("ability", "vl"),
        "env_name": sample.env_name or None,
        "reward_model": {"ground_truth": sample.answer, "style": texts.get("style", "rule")},
        "extra_info": {
            "question": sample.question,
            "answer": sample.answer,
            "index": index,
            "id": sample.id,
            "options": sample.options,
            "boxes": sample.boxes,
            "box_images": sample.box_images,
            "env_name": sample.env_name,
            "metadata": json.dumps(dict(sample.metadata), allow_nan=False),
            "own_prompt": bool(sample.messages),
        },
    }
