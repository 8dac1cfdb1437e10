"""Scores of tokens: the same in chunks, in memory that does not grow with the number of tokens."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo import scores  # noqa: E402
from deepeyes_env.trainers.grpo.batch import Batch  # noqa: E402
from deepeyes_env.trainers.grpo.learner import Learner  # noqa: E402
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings  # noqa: E402
from tests.live_bytes import LiveBytes  # noqa: E402
from tests.small_model import byte_tokenizer, random_model  # noqa: E402
from tests.trainers.grpo.episodes import group  # noqa: E402

WEIGHTS = {64}
"""Rows of the head's weights, transposed."""


def some_policy(**text):
    from deepeyes_env.agents.transformers.policy import VisionPolicy

    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    return VisionPolicy(random_model(tokenizer, **text), tokenizer)


def scored(policy, tokens):
    made = torch.Generator().manual_seed(0)
    width = policy.model.config.text_config.hidden_size
    hidden = torch.randn(tokens, width, generator=made).requires_grad_()
    ids = torch.randint(0, 60, (tokens,), generator=made)
    policy.model.zero_grad(set_to_none=True)
    logprobs, entropy = scores.token_scores(policy, hidden, ids, 0.7)
    (logprobs.sin() + entropy.cos()).sum().backward()
    return logprobs.detach(), entropy.detach(), hidden.grad, policy.model.lm_head.weight.grad.clone()


def test_chunks_change_nothing(monkeypatch):
    policy = some_policy()
    whole = scored(policy, 50)
    monkeypatch.setattr(scores, "CHUNK_LOGITS", 7 * 320)
    for mine, expected in zip(scored(policy, 50), whole, strict=True):
        assert torch.allclose(mine, expected, atol=1e-5)


@pytest.mark.integration
def test_memory_does_not_grow_with_the_number_of_tokens(monkeypatch):
    policy = some_policy(vocab_size=20_000)
    monkeypatch.setattr(scores, "CHUNK_LOGITS", 16 * 20_000)
    peaks = []
    for tokens in (32, 256):
        with LiveBytes(20_000) as live:
            scored(policy, tokens)
        assert max(live.rows - WEIGHTS) == 16
        peaks.append(live.peak)
    states = 224 * 64 * 4
    assert peaks[1] - peaks[0] < 4 * states, "what grows is the hidden states and their gradients"
    assert peaks[0] > 4 * 16 * 20_000 * 4


def test_a_learner_never_holds_all_logits_and_frees_its_gradients(monkeypatch):
    policy = some_policy(vocab_size=1000)
    monkeypatch.setattr(scores, "CHUNK_LOGITS", 4 * 1000)
    episodes = (*group(policy, 1, [3, 2, 3]), *group(policy, 2, [2, 3, 3]))
    batch = Batch(episodes, np.arange(6, dtype=np.float32), np.array([0, 0, 0, 1, 1, 1]))
    learner = Learner(policy, AlgorithmSettings(), OptimSettings(), 1.0)
    with LiveBytes(1000) as live:
        learner.learn(batch, np.random.default_rng(0))
    assert sum(int(each.mask.sum()) for each in episodes) > 30
    assert max(live.rows - WEIGHTS) == 4
    assert all(weight.grad is None for weight in policy.model.parameters())


def test_as_many_tokens_at_once_as_fit():
    assert scores.chunk_tokens(151_936) == 128
    assert scores.chunk_tokens(242) > 50_000
