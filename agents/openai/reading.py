"""What an endpoint answered, as the next message of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepeyes_env.agents.agent import Reply
from deepeyes_env.agents.finish_reason import finish_reason_of
from deepeyes_env.core import PolicyTokens
from deepeyes_env.protocols import THINK, Protocol

_MATCHED = ("stop_reason", "matched_stop")
"""Where vLLM and SGLang name the stop string that ended a message; a token id or null if it was none."""


def read_reply(choice: Mapping[str, Any], protocol: Protocol, *, native: bool) -> Reply:
    """Read a choice of a chat completion.

    Args:
        choice: The choice, as JSON.
        protocol: The protocol of the environment.
        native: Whether tool calls travel beside the text.
    """
    message = choice["message"]
    thought = message.get("reasoning_content") or message.get("reasoning")
    content = _text(message.get("content"))
    tokens = read_tokens(choice)
    calls = message.get("tool_calls")
    beside: dict[str, Any] = {}
    if thought and isinstance(thought, str) and THINK.opening not in content:
        beside["reasoning_content"] = thought  # apart: a tag in it is no answer
    if calls:  # some servers take calls out of the text whether or not tools were sent
        beside["tool_calls"] = calls
    elif not native:
        content = with_stop(content, choice, protocol)
    said = {"role": "assistant", "content": content, **beside} if native or beside else content
    return Reply(said, tokens, "refusal" if message.get("refusal") else finish_reason_of(choice.get("finish_reason")))


def with_stop(text: str, choice: Mapping[str, Any], protocol: Protocol) -> str:
    """Put back the closing mark that a finished message lacks, by the same rule for every server.

    Servers cut off the stop string that ended a message, though it belongs to the call or the answer. vLLM and SGLang
    say which one it was, others do not; and a model may end its turn instead of writing the mark. So what a finished
    message left open last is closed, however it ended. One that was cut off by a limit is left as it is.
    """
    if choice.get("finish_reason") != "stop":
        return text
    for field in _MATCHED:
        mark = choice.get(field)
        if isinstance(mark, str) and not text.endswith(mark):
            return text + mark
    return protocol.closed(text)


def read_tokens(choice: Mapping[str, Any]) -> PolicyTokens | None:
    """Read token ids and log-probabilities; ``None`` if there are no ids."""
    ids = choice.get("token_ids")
    if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
        return None
    try:
        logprobs = tuple(float(token["logprob"]) for token in choice["logprobs"]["content"])
    except (TypeError, ValueError, LookupError):
        logprobs = ()
    return PolicyTokens(tuple(ids), logprobs if len(logprobs) == len(ids) else ())


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
