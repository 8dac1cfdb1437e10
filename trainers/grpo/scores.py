"""Scores of tokens: their log-probabilities and entropies, from hidden states, some tokens at a time.

Logits of a vocabulary of 151,936 tokens take 16 bytes each until the backward pass is done: 2.4 MB a token. So they
are made of at most ``CHUNK_LOGITS`` at once, and made again in the backward pass: what is held is the same however many
tokens there are.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from deepeyes_env.agents.transformers.policy import VisionPolicy

CHUNK_LOGITS = 128 * 151_936
"""Most logits at once: of 128 tokens with Qwen2.5-VL's vocabulary, of all there are with a vocabulary of hundreds."""


def chunk_tokens(vocabulary: int) -> int:
    """Return of how many tokens logits are made at once."""
    return max(1, CHUNK_LOGITS // vocabulary)


def token_scores(
    policy: VisionPolicy, hidden: torch.Tensor, ids: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each token ``(N,)`` and the entropy of the distribution it was sampled from.

    Args:
        policy: Whose head makes the logits.
        hidden: ``(N, hidden size)``: the state that each was sampled from.
        ids: ``(N,)`` token ids.
        temperature: That of the sampling.
    """
    most = chunk_tokens(policy.model.config.text_config.vocab_size)
    if len(ids) <= most:
        return _scores(policy, hidden, ids, temperature)
    scored = [
        checkpoint(_scores, policy, states, tokens, temperature, use_reentrant=False)
        for states, tokens in zip(hidden.split(most), ids.split(most), strict=True)
    ]
    logprobs, entropy = (torch.cat(parts) for parts in zip(*scored, strict=True))
    return logprobs, entropy


def _scores(
    policy: VisionPolicy, hidden: torch.Tensor, ids: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    distribution = torch.log_softmax(policy.logits(hidden, temperature), -1)
    return distribution.gather(1, ids[:, None])[:, 0], -(distribution.exp() * distribution).sum(-1)
