"""File formats by name: those of other tools, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from deepeyes_env.registry import Registry
from deepeyes_env.trajectories.export import (
    huggingface,
    messages_json,
    openai_jsonl,
    openai_reader,
    sharegpt,
    vlmevalkit,
)
from deepeyes_env.trajectories.export.conversation import Conversation


def _fits(conversation: Conversation) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format for conversations: for training.

    Attributes:
        suffix: What its files' names end with.
        write: Writes conversations to a file, whole or not at all (``deepeyes_env.files.replacing``).
        read: Reads and checks a file; ``None`` if nothing does.
        reason_to_skip: Says why a conversation has no place in the format; empty if it has.
        either_calls: Whether tool calls can be written as text or native.
    """

    suffix: str
    write: Callable[[Iterable[Conversation], Path], None]
    read: Callable[[Path], Iterator[Conversation]] | None = None
    reason_to_skip: Callable[[Conversation], str] = _fits
    either_calls: bool = False

    @property
    def suffixes(self) -> tuple[str, ...]:
        """All that its files' names may end with."""
        return (self.suffix,)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file format with a row for each question and its answer: for evaluations elsewhere.

    Attributes:
        suffixes: What its files' names may end with.
        write: Writes predictions to a file, whole or not at all.
        read: Reads and checks a file; ``None`` if nothing does.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Iterable[vlmevalkit.Prediction], Path], None]
    read: Callable[[Path], Iterable[object]] | None = None


AnyFormat: TypeAlias = Format | Sheet

FORMATS: Registry[AnyFormat] = Registry("format")
"""Every format by name."""

register_export = FORMATS.register
"""Make an export format known by a name, ``register_export("mine", Format(".jsonl", write))``."""

for _name, _format in {
    "sharegpt": Format(
        ".jsonl", sharegpt.write_sharegpt, sharegpt.read_sharegpt, sharegpt.reason_to_skip, either_calls=True
    ),
    "messages": Format(
        ".json", messages_json.write_messages, messages_json.read_messages, messages_json.reason_to_skip
    ),
    "huggingface": Format(".parquet", huggingface.write_huggingface, huggingface.read_huggingface),
    "openai": Format(
        ".jsonl", openai_jsonl.write_openai, openai_reader.read_openai, openai_jsonl.reason_to_skip, either_calls=True
    ),
    "vlmevalkit": Sheet((".xlsx", ".tsv"), vlmevalkit.write_vlmevalkit, vlmevalkit.read_vlmevalkit),
}.items():
    register_export(_name, _format)
FORMATS.protect()
