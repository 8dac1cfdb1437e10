"""Conversation: a finished episode as a model is trained on it, or the reason why it cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepeyes_env.conversation import Calls, ChatMessage, messages_of, utf8
from deepeyes_env.core import IMAGE_PLACEHOLDER, Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.errors import UnexportableError, UnknownNameError, UsageError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.strict_json import plain

MEDIA_PLACEHOLDERS = (IMAGE_PLACEHOLDER, "<video>", "<audio>")
"""What trainers replace by media wherever it stands, so that it must not stand where there is none."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole episode.

    Attributes:
        id: Id of the sample.
        messages: A user's message first, then in turn the assistant's and the replies; an assistant's last.
        system: The system prompt; may be empty.
        tools: OpenAI-style schemas of the tools; empty where the messages or the system prompt explain them.
        trajectory: Where it comes from; ``None`` for one that was read from a file.
    """

    id: str
    messages: tuple[ChatMessage, ...]
    system: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    trajectory: Trajectory | None = field(default=None, compare=False)

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All images, in the order of their placeholders."""
        return tuple(image for message in self.messages for image in message.images)


def conversation_of(trajectory: Trajectory, calls: Calls | None = None) -> Conversation:
    """Make a conversation of an episode; what the environment said after the last message is left out.

    Args:
        trajectory: A finished episode.
        calls: How to write tool calls. ``None``: as they were made, ``native`` for a toolbox with native calls.

    Raises:
        UnexportableError: The episode has no messages or an empty one; a text holds a media placeholder where there is
            none; or a call that cannot be read would have to be written natively.
        UsageError: The toolbox's calls cannot be written this way; the message names one that can.
        UnknownNameError: The toolbox is not registered in this process and would have to be asked.
    """
    if not trajectory.turns:
        raise UnexportableError("no messages")
    native, system, tools = _form(trajectory, calls)
    if native:
        _check_calls(trajectory)
    messages = list(messages_of(trajectory, "native" if native else "text"))
    if messages[0].role == "system":
        messages.pop(0)
    while messages[-1].role != "assistant":
        messages.pop()
    made = Conversation(trajectory.sample.id, tuple(messages), system, tools, trajectory)
    _check_texts(made)
    return made


def _form(trajectory: Trajectory, calls: Calls | None) -> tuple[bool, str, tuple[dict[str, Any], ...]]:
    """Return whether calls are written natively, and with which system prompt and tools."""
    system = utf8(trajectory.system_prompt)
    try:
        toolbox = toolbox_of(trajectory)
    except UnknownNameError:
        if calls == "text":  # what was said is all there is to write
            return False, system, ()
        raise
    protocol = toolbox.protocol
    native = protocol.native if calls is None else calls == "native"
    if not native:
        if protocol.native:
            raise UsageError(
                f"calls='text': the tools of {toolbox.name} were handed to the model beside the messages, which do not "
                "explain them; use calls='native'"
            )
        return False, system, ()
    if not protocol.has_native_form:
        raise UsageError(
            f"calls='native': the prompt of {toolbox.name} asks for calls in a format of its own; use calls='text'"
        )
    explained = trajectory.system_prompt == protocol.system_prompt(toolbox.schemas)  # the chat template does it again
    return True, "" if explained else system, toolbox.schemas


def _check_calls(trajectory: Trajectory) -> None:
    for result in trajectory.results:
        if not result.call.name:
            raise UnexportableError("a call that cannot be read, and so has no native form")
        try:
            json.dumps(dict(result.call.arguments), default=plain, allow_nan=False)
        except ValueError as error:
            raise UnexportableError("a call with a number that JSON has not") from error


def _check_texts(conversation: Conversation) -> None:
    texts = [(conversation.system, 0)]
    for message in conversation.messages:
        if message.role == "assistant" and not message.written.strip():
            raise UnexportableError("an empty message")
        texts.append((message.written or message.text, len(message.images)))
    for text, shown in texts:
        for mark in MEDIA_PLACEHOLDERS:
            if text.count(mark) != (shown if mark == IMAGE_PLACEHOLDER else 0):
                raise UnexportableError(f"{mark} in a text where there is none")
