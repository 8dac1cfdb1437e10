"""Why a message ended: the words of servers, in ours."""

from __future__ import annotations

from collections.abc import Mapping

from deepeyes_env.core import FinishReason

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "refusal",
    # Words of OpenAI's older interface, of TGI, and of gateways to other companies' models.
    "function_call": "tool_calls",
    "eos_token": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "safety": "content_filter",
}


def finish_reason_of(word: object) -> FinishReason:
    """Return why a message ended, from a server's ``finish_reason``; empty for ``None``, for it does not say."""
    if word is None or word == "":
        return ""
    return _REASONS.get(str(word).lower(), "other")
