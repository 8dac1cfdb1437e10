"""The prompt that a row brings along: when an episode opens with it, and which tools it names."""

from __future__ import annotations

import logging
import re
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from deepeyes_env.core import IMAGE_PLACEHOLDER, Sample
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.protocols import Protocol
from deepeyes_env.protocols.tagged import FLAT_NAMES
from deepeyes_env.registry import unknown_name

logger = logging.getLogger(__name__)

PromptSource: TypeAlias = Literal["auto", "row", "protocol"]
"""Whose words open an episode.

``row``: the row's own messages, word for word. ``protocol``: those of the toolbox's protocol, or of the template.
``auto``: the row's own where it has a system prompt and calls are written as text; else the protocol's.
"""

_TOOL_NAMES = (
    re.compile(r'"function"\s*:\s*\{\s*"name"\s*:\s*"([^"]+)"'),  # a schema
    re.compile(r'"name"\s*:\s*"([^"]+)"\s*,\s*"(?:arguments|parameters|description)"'),  # an example, or a bare schema
    re.compile(r'"function"\s*:\s*"([^"]+)"'),  # an example in the flat style
)


@dataclass(frozen=True, slots=True)
class RowPrompt:
    """A row's own prompt.

    Attributes:
        system: Its system prompt; may be empty.
        user: Its user message, with a placeholder per image.
        instructions: What its user message adds to the question; empty where that cannot be told apart.
    """

    system: str
    user: str
    instructions: str

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of tools that it spells out as JSON, in schemas and examples."""
        told = f"{self.system}\n{self.user}"
        names = (found for pattern in _TOOL_NAMES for found in pattern.findall(told))
        return tuple(dict.fromkeys(FLAT_NAMES.get(name, name) for name in names))


def check_prompt_source(prompt: str) -> None:
    """Check a setting.

    Raises:
        UnknownNameError: It is none of ``PromptSource``.
    """
    if prompt not in get_args(PromptSource):
        raise unknown_name("prompt", prompt, get_args(PromptSource))


def has_own_prompt(sample: Sample, prompt: PromptSource, protocol: Protocol) -> bool:
    """Whether an episode of a sample opens with the row's own messages."""
    if prompt == "protocol" or not sample.messages:
        return False
    if prompt == "row":
        return True
    told = any(message.role == "system" and message.content.strip() for message in sample.messages)
    return told and not protocol.native


def row_prompt(sample: Sample) -> RowPrompt:
    """Return a row's own prompt.

    Raises:
        UsageError: It has none.
        DataError: It is more than a system prompt and a user message, or has not one placeholder per image.
    """
    if not sample.messages:
        raise UsageError(
            f"prompt='row': sample {sample.id!r} has no messages of its own; use prompt='auto', which then takes the "
            "protocol's"
        )
    roles = [message.role for message in sample.messages]
    if roles not in (["system", "user"], ["user"]):
        raise DataError(
            f"sample {sample.id!r}: its prompt has the messages {', '.join(roles)}; an episode opens with one of the "
            "system and one of the user; prompt='protocol' asks the question in the protocol's words"
        )
    system = sample.messages[0].content if len(roles) == 2 else ""
    user = sample.messages[-1].content
    found, images = user.count(IMAGE_PLACEHOLDER), len(sample.images)
    if found not in (0, images) or IMAGE_PLACEHOLDER in system:
        raise DataError(
            f"sample {sample.id!r}: its user message has {found} {IMAGE_PLACEHOLDER} for {images} images; write one "
            "per image there, and none in the system prompt"
        )
    if not found:
        user = f"{IMAGE_PLACEHOLDER * images}\n{user}"
    _, asked, instructions = user.rpartition(sample.question)
    return RowPrompt(system, user, instructions if asked else "")


def unknown_tools(prompt: RowPrompt, tools: Container[str], toolbox: str) -> tuple[str, ...]:
    """Return the tools that a prompt names and a toolbox lacks; they are logged, once for each toolbox and set."""
    missing = tuple(name for name in prompt.tools if name not in tools)
    if missing:
        _tell(toolbox, missing)
    return missing


@lru_cache(maxsize=256)
def _tell(toolbox: str, missing: tuple[str, ...]) -> None:
    logger.warning(
        "rows' own prompts name tools that %s lacks: %s; calls of them fail. Use a toolbox that has them, or "
        "prompt='protocol'",
        toolbox or "an ordinary question",
        ", ".join(missing),
    )
