"""What an endpoint answered, as the next message of an episode."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from deepeyes_env.agents.agent import Reply
from deepeyes_env.agents.finish_reason import finish_reason_of
from deepeyes_env.core import PolicyTokens
from deepeyes_env.protocols import THINK, Protocol


def read_reply(choice: Mapping[str, Any], protocol: Protocol, stops: Collection[str], *, native: bool) -> Reply:
    """Read a choice of a chat completion.

    Args:
        choice: The choice, as JSON.
        protocol: The protocol of the environment.
        stops: The stop strings that were sent.
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
        content = with_stop(content, choice, protocol, stops)
    said = {"role": "assistant", "content": content, **beside} if native or beside else content
    return Reply(said, tokens, "refusal" if message.get("refusal") else finish_reason_of(choice.get("finish_reason")))


def with_stop(text: str, choice: Mapping[str, Any], protocol: Protocol, stops: Collection[str]) -> str:
    """Put back the stop string that ended a message: servers cut it off, but it belongs to the call or the answer.

    vLLM says which one it was. Elsewhere it was the closing mark of what the text left open last, unless that is a mere
    mention: nothing follows it, or another call or answer does.
    """
    if choice.get("finish_reason") != "stop":
        return text
    if "stop_reason" in choice:
        mark = choice["stop_reason"]
        return text + mark if isinstance(mark, str) and not text.endswith(mark) else text
    marks = [(opening, closing) for opening, closing in protocol.ending_tags if closing in stops]
    begun = [(text.rfind(opening), opening, closing) for opening, closing in marks if opening in text]
    if not begun:
        return text
    start, opening, closing = max(begun)
    rest = text[start + len(opening) :]
    ended = not rest.strip() or any(other in rest for _, other in marks)
    return text if ended else text + closing


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
