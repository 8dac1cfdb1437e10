"""Decoder: messages for many requests at once, with log-probabilities as verl's actor computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens
from deepeyes_env.images.ref import ImageRef

MAX_TOKENS = 1024
"""Most tokens of a message, where a request does not say."""

_OUT_OF_REACH = -1e9


@dataclass(frozen=True, slots=True)
class Request:
    """A conversation whose next message is asked for.

    Attributes:
        tokens: All of it, with its images.
        temperature: Sampling temperature; 0 takes the likeliest token.
        max_tokens: Most tokens of the message.
        banned: Tokens that must not be sampled.
    """

    tokens: TokenSequence
    temperature: float = 1.0
    max_tokens: int = MAX_TOKENS
    banned: frozenset[int] = frozenset()

    @classmethod
    def of(cls, ids: Sequence[int], sampling: Mapping[str, Any], images: Sequence[Any]) -> Request:
        """Read a request as verl's clients write it; of ``logit_bias``, what is below 0 bans a token."""
        refs = tuple(ImageRef.of(image) for image in images)
        bias = sampling.get("logit_bias") or {}
        return cls(
            TokenSequence.context(np.array(ids, np.int64), refs),
            float(sampling.get("temperature", 1.0)),
            int(sampling.get("max_tokens") or MAX_TOKENS),
            frozenset(int(token) for token, value in bias.items() if value < 0),
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """A message.

    Attributes:
        ids: Its tokens, the one that ends it included.
        logprobs: Log-probabilities of the tokens among all others, banned ones included: what a trainer finds that
            knows of no ban.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(slots=True)
class Decoder:
    """Generates messages with a model whose weights a trainer changes.

    Attributes:
        policy: The model.
        seed: Decides what is sampled, with the number of the request.
    """

    policy: VisionPolicy
    seed: int
    _requests: int = field(default=0, init=False)

    @classmethod
    def load(cls, path: str | Path, seed: int) -> Decoder:
        """Load a model directory.

        Raises:
            UsageError: There is none, or of another kind.
            DataError: A file of it is damaged.
        """
        return cls(_UnboundPolicy.load(path), seed)

    def update(self, named: Mapping[str, torch.Tensor]) -> int:
        """Take over weights by their names; returns how many were known."""
        state = self.policy.model.state_dict()
        known = {name: tensor for name, tensor in named.items() if name in state}
        with torch.no_grad():
            for name, tensor in known.items():
                state[name].copy_(tensor)
        return len(known)

    def decode(self, requests: Sequence[Request]) -> list[Completion]:
        """Generate the next message of each conversation, those of like sampling together."""
        kinds: dict[tuple[float, frozenset[int]], list[int]] = {}
        for number, request in enumerate(requests):
            kinds.setdefault((request.temperature, request.banned), []).append(number)
        completions: dict[int, Completion] = {}
        for numbers in kinds.values():
            completions.update(zip(numbers, self._decode([requests[number] for number in numbers]), strict=True))
        return [completions[number] for number in range(len(requests))]

    def _decode(self, requests: Sequence[Request]) -> list[Completion]:
        sampling = Sampling(requests[0].temperature, max(request.max_tokens for request in requests))
        generator = _Generator(self.policy, sampling, requests[0].banned)
        conversations = [self._conversation(request) for request in requests]
        found: dict[int, PolicyTokens] = {}
        generator.generate(conversations, lambda conversation, tokens: found.update({id(conversation): tokens}))
        return [
            _cut(found[id(conversation)], request.max_tokens)
            for conversation, request in zip(conversations, requests, strict=True)
        ]

    def _conversation(self, request: Request) -> CachedConversation:
        self._requests += 1
        images = tuple(image.digest for image in request.tokens.images)
        return CachedConversation(
            (self.seed, self._requests), request.tokens, prompt_key=(request.tokens.ids.tobytes(), images)
        )


def _cut(tokens: PolicyTokens, most: int) -> Completion:
    """Return a message as it would be had it been generated with a limit of its own."""
    return Completion(tokens.ids[:most], tokens.logprobs[:most])


class _UnboundPolicy(VisionPolicy):
    """A policy whose distribution leaves no token out, as verl's actor's does."""

    def logits(self, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return the logits of all tokens."""
        return self.all_logits(hidden, temperature)


class _Generator(Generator):
    """Samples without the banned tokens; the log-probabilities are among all of them."""

    def __init__(self, policy: VisionPolicy, sampling: Sampling, banned: frozenset[int]) -> None:
        super().__init__(policy, sampling)
        self._ban = torch.zeros(policy.model.config.text_config.vocab_size, device=policy.device)
        self._ban[sorted(banned)] = _OUT_OF_REACH

    def _sample(self, logits: torch.Tensor, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens, _ = super()._sample(logits + self._ban, uniforms)
        return tokens, torch.log_softmax(logits, -1).gather(1, tokens[:, None])[:, 0]
