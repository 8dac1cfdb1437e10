"""Encoding: a running episode as the prompt from which a model generates the next message."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.families import ModelFamily
from deepeyes_env.agents.transformers.chat import Chat, written
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import Trajectory, Turn
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Frame


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A conversation whose next message is the agent's, as tokens.

    Attributes:
        tokens: All of it, with the generation prompt at the end.
        prefix: All up to the end of the agent's last message, which a KV cache may hold; ``None`` before the first.
        turn: Number of the next message, from 0.
    """

    tokens: TokenSequence
    prefix: TokenSequence | None
    turn: int


def encode(chat: Chat, episode: Trajectory) -> EncodedPrompt:
    """Write a running episode as tokens.

    What was sampled stays as it was sampled; a message of an agent that reports no tokens is encoded.
    """
    parts = [chat.prompt(episode)]
    prefix_parts = 0
    begun = ""
    for turn in episode.turns:
        parts.append(_completion(chat, turn, begun))
        prefix_parts = len(parts)
        begun = turn.observation.prefill if turn.observation else ""
        if turn.observation is not None:
            parts.append(chat.observation(turn.observation, int(parts[-1].ids[-1])))
    prefix = TokenSequence.concatenated(parts[:prefix_parts]) if prefix_parts else None
    return EncodedPrompt(TokenSequence.concatenated(parts), prefix, len(episode.turns))


def seeds_of(episode: Trajectory, seed: int) -> tuple[int, int, int]:
    """Return what decides what is sampled in an episode: the agent's seed, the episode's, and the sample."""
    sample = hashlib.sha256(episode.sample.id.encode("utf-8", "replace")).digest()
    return (seed, int(episode.metadata.get("seed") or 0), int.from_bytes(sample[:8], "big"))


def check_frame(episode: Trajectory, frame: Frame, name: str) -> None:
    """Make sure that the environment reads boxes in the frame in which a model writes them.

    Raises:
        UsageError: It does not.
    """
    if episode.toolbox and episode.frame != frame:
        raise UsageError(
            f"the episode of sample {episode.sample.id!r} takes boxes in frame={episode.frame!r}, and {name} writes "
            f"them in {frame!r}; give the environment frame={frame!r}"
        )


def context_budget(tokenizer: Any, family: ModelFamily, context: int, max_new_tokens: int) -> Budget:
    """Return what a model's context holds beside max new tokens; the oldest crops are left out of what exceeds it.

    Args:
        tokenizer: The model's.
        family: The model's.
        context: Length of the model's context in tokens.
        max_new_tokens: Most tokens of a message.

    Raises:
        UsageError: Nothing is left.
    """
    if context <= max_new_tokens:
        raise UsageError(
            f"sampling.max_new_tokens={max_new_tokens}: must be less than the {context} tokens of the model's context"
        )

    @lru_cache(maxsize=4096)  # every turn of every episode counts the same prompts and replies again
    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    return Budget(max_tokens=context - max_new_tokens, overflow="drop", family=family, count_tokens=count)


def _completion(chat: Chat, turn: Turn, begun: str) -> TokenSequence:
    """Return a message of the policy; what it was begun with stands before it already."""
    if turn.tokens is not None and turn.tokens.ids:
        return written(turn.tokens)
    return TokenSequence.context(chat.message(turn.action.removeprefix(begun)))
