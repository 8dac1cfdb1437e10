"""The messages that a row of a data set brings along as its own prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepeyes_env.errors import UsageError
from deepeyes_env.telling import quoted


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a row's own prompt.

    Attributes:
        role: Who speaks: ``system``, ``user``, or whatever the row says.
        content: What is said, word for word; ``<image>`` stands for an image.
    """

    role: str
    content: str


def as_prompt_messages(given: Any, sample_id: str) -> tuple[PromptMessage, ...]:
    """Return messages, given as such or as mappings with ``role`` and ``content``.

    Raises:
        UsageError: One of them is neither, or its role or content is no text.
    """
    if isinstance(given, str | bytes | Mapping):
        given = [given]
    return tuple(_message(each, sample_id) for each in given)


def _message(given: Any, sample_id: str) -> PromptMessage:
    if isinstance(given, Mapping) and set(given) == {"role", "content"}:
        given = PromptMessage(given["role"], given["content"])
    if not isinstance(given, PromptMessage) or not (isinstance(given.role, str) and isinstance(given.content, str)):
        raise UsageError(
            f"sample {quoted(sample_id)}: message {quoted(given)} is not {{'role': text, 'content': text}}; "
            "write images as <image> in the text"
        )
    return given
