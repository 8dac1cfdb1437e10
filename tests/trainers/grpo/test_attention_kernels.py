"""Attention of a training step with grouped heads: a mask never takes the kernel that writes out every score."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

from deepeyes_env.agents.transformers.attention import attention_output  # noqa: E402
from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.trainers.grpo.batch import Batch  # noqa: E402
from deepeyes_env.trainers.grpo.learner import Learner  # noqa: E402
from deepeyes_env.trainers.grpo.sections import AlgorithmSettings, OptimSettings  # noqa: E402
from tests.small_model import byte_tokenizer, random_model  # noqa: E402
from tests.trainers.grpo.episodes import context, picture  # noqa: E402

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]


class AttentionCalls(TorchFunctionMode):
    """Keeps the lengths of queries, whether there is a mask, and whether heads are grouped, of every attention."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            self.seen.append((args[0].shape[-2], mask is not None, bool(kwargs.get("enable_gqa"))))
        return func(*args, **kwargs)


def a_step(policy, *, checkpointing):
    """Two groups of three episodes of two turns with images, played and then learned from; the metrics."""
    generator = Generator(policy, Sampling(1.0, 6))
    parts, conversations = {}, []
    for number in range(6):
        question = context(policy, np.random.default_rng(number // 3), 9 + 3 * (number // 3), picture(number // 3))
        conversations.append(CachedConversation((number,), question, prompt_key=number // 3))
        parts[id(conversations[-1])] = [question]

    def on_finished(conversation, tokens):
        written = np.array(tokens.ids), np.ones(len(tokens.ids), bool), np.array(tokens.logprobs, np.float32)
        parts[id(conversation)].append(TokenSequence(*written))

    for turn in range(2):
        generator.generate(conversations, on_finished)
        for number, conversation in enumerate(conversations):
            if not turn:
                observation = context(policy, np.random.default_rng(10 + number), 5 + number, picture(20 + number))
                parts[id(conversation)].append(observation)
                conversation.append(observation)
    episodes = tuple(TokenSequence.concatenated(parts[id(each)]) for each in conversations)
    batch = Batch(episodes, np.arange(6, dtype=np.float32), np.array([0, 0, 0, 1, 1, 1]))
    learner = Learner(policy, AlgorithmSettings(), OptimSettings(gradient_checkpointing=checkpointing), 1.0)
    return learner.learn(batch, np.random.default_rng(0))


def grouped_policy(device="cpu", dtype=torch.float32, **text):
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    return VisionPolicy(random_model(tokenizer, **text).to(device), tokenizer, dtype)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_mask_never_goes_with_grouped_heads(checkpointing):
    policy = grouped_policy()
    with AttentionCalls() as calls:
        metrics = a_step(policy, checkpointing=checkpointing)
    assert metrics["learn/logprob_gap"] < 1e-4
    assert not [call for call in calls.seen if call[1] and call[2]]
    assert any(queries > 2 and masked for queries, masked, _ in calls.seen), "prefills and completions have masks"
    assert any(grouped for _, _, grouped in calls.seen), "the learner's prompts are causal, and may be grouped"


def test_a_step_needs_no_math_kernel():
    """On a CPU too, which has one fused kernel."""
    policy = grouped_policy()
    with sdpa_kernel(FUSED):
        assert a_step(policy, checkpointing=True)["learn/logprob_gap"] < 1e-4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_needs_no_math_kernel_on_a_gpu(checkpointing):
    policy = grouped_policy("cuda", torch.bfloat16, hidden_size=128, num_attention_heads=4)
    with sdpa_kernel(FUSED):
        assert a_step(policy, checkpointing=checkpointing)["learn/logprob_gap"] < 0.5


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_grouped_heads_share_their_keys(length, key_heads):
    """Against scores written out by hand."""
    made = torch.Generator().manual_seed(0)
    query = torch.randn(2, length, 4, 8, generator=made)
    key, value = (torch.randn(2, 7, key_heads, 8, generator=made) for _ in range(2))
    mask = torch.rand(2, 1, length, 7, generator=made) < 0.7
    mask[..., 0] = True
    expected = torch.empty(2, length, 4, 8)
    for head in range(4):
        mine = head // (4 // key_heads)
        scores = torch.einsum("bld,bkd->blk", query[:, :, head], key[:, :, mine]) * 8**-0.5
        weights = scores.masked_fill(~mask[:, 0], -torch.inf).softmax(-1)
        expected[:, :, head] = torch.einsum("blk,bkd->bld", weights, value[:, :, mine])
    output = attention_output(query, key, value, mask)
    assert torch.allclose(output, expected.flatten(2), atol=1e-5)
