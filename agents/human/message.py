"""What a person filled in, as a message in the episode's own protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepeyes_env.agents.scripted import answering
from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.protocols import ANSWER, THINK, TOOL_CALL, Protocol

MAX_LENGTH = 20_000
"""Most characters of a thought or an answer."""

_MARKS = (*THINK, IMAGE_PLACEHOLDER, "<|")
_OF_PROTOCOLS = (*ANSWER, *TOOL_CALL)
"""Of some of them; a thought holds none, whichever the episode's is: demonstrations go on to other ones."""


class FormError(DeepEyesError, ValueError):
    """What a person filled in cannot be said in the episode's protocol; the message tells them why."""


def message_of(episode: Trajectory, form: Mapping[str, Any]) -> str:
    """Write what a person filled in as the next message of an episode.

    The marks of a thought are there even when it is empty, as the prompts ask for them.

    Args:
        episode: The running episode.
        form: ``{"thought": str, "call": {"name": str, "arguments": dict}}``, or ``{"thought": str, "answer": str}``.

    Raises:
        FormError: A field is missing or of another type; the tool is unknown; or a text holds marks of the protocol,
            so that the message would be read as something else than what was filled in.
    """
    thought = _text(form, "thought", "the thought", (*_MARKS, *_OF_PROTOCOLS))
    toolbox = toolbox_of(episode)
    if ("call" in form) == ("answer" in form):
        raise FormError("give either a call or an answer")
    if "answer" in form:
        answer = _text(form, "answer", "the answer")
        if not answer:
            raise FormError("the answer is empty")
        message, alone = answering(episode, answer, thought), answering(episode, answer, "")
        said = answer in (toolbox.protocol.parse(alone).answer or "")
    else:
        call = _call(form["call"], toolbox.make_tools())
        message, alone = (toolbox.protocol.format_message(text, call) for text in (thought, ""))
        said = _is_read_back(call, alone, toolbox.protocol)
    if not said:
        marks = f"{ANSWER.closing} or {TOOL_CALL.closing}"
        raise FormError(f"this would not be read as it is meant; leave out marks such as {marks}")
    if toolbox.protocol.parse(message) != toolbox.protocol.parse(alone):
        raise FormError(f"the thought would be read as a call or an answer; leave out marks such as {ANSWER.opening}")
    return message


def _text(form: Mapping[str, Any], key: str, name: str, marks: Sequence[str] = _MARKS) -> str:
    value = form.get(key)
    if not isinstance(value, str):
        raise FormError(f"{name} must be text")
    if len(value) > MAX_LENGTH:
        raise FormError(f"{name} has {len(value)} characters; at most {MAX_LENGTH} are allowed")
    for mark in marks:
        if mark in value:
            raise FormError(f"{name} holds {mark}, which means something in the conversation; leave it out")
    return value.strip()


def _call(written: Any, tools: Mapping[str, Any]) -> ToolCall:
    name = written.get("name") if isinstance(written, dict) else None
    arguments = written.get("arguments") if isinstance(written, dict) else None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise FormError("a call needs a name and an object of arguments")
    if name not in tools:
        raise FormError(f"there is no tool {name[:80]!r}; the tools are: {', '.join(tools) or 'none'}")
    return ToolCall(name, arguments)


def _is_read_back(call: ToolCall, message: str, protocol: Protocol) -> bool:
    parsed = protocol.parse(message)
    return parsed.answer is None and parsed.calls == (call,)
