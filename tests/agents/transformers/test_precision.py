"""Copies for generation: in bfloat16 they compute what autocast computes of the float32 weights, without its casts."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.agents.transformers.precision import cast_matrices, generation_copy, refresh  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.images.ref import ImageRef  # noqa: E402
from tests.small_model import byte_tokenizer, random_model  # noqa: E402


def half_policy(**text):
    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    return VisionPolicy(random_model(tokenizer, **text), tokenizer, torch.bfloat16)


def generated(policy):
    shape = (2 * policy.factor, 3 * policy.factor, 3)
    image = ImageRef.of(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    ids = np.array([5, 6, *[policy.image_token] * 6, 7, 8])
    written = []
    conversation = CachedConversation((1,), TokenSequence.context(ids, [image]))
    Generator(policy, Sampling(1.0, 8)).generate([conversation], lambda _, tokens: written.append(tokens))
    return written[0].ids, np.array(written[0].logprobs)


class MatrixCasts(TorchDispatchMode):
    """Counts casts of matrices from float32 to bfloat16."""

    def __init__(self, policy):
        super().__init__()
        self.number = 0
        self._matrices = {id(weight) for weight in policy.model.parameters() if weight.ndim == 2}
        self._shapes = {tuple(weight.shape) for weight in policy.model.parameters() if weight.ndim == 2}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if func.name() == "aten::_to_copy" and made.dtype == torch.bfloat16 and args[0].shape in self._shapes:
            self.number += 1
        return made


@pytest.mark.parametrize(
    ("family", "tied"), [("qwen2_5_vl", False), ("qwen2_5_vl", True), ("qwen2_vl", False), ("qwen3_vl", False)]
)
def test_a_copy_generates_what_autocast_does(family, tied):
    policy = half_policy(family=family, tie_word_embeddings=tied)
    with torch.no_grad():
        for module in policy.model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.weight.copy_(module.weight.bfloat16())  # what the copy rounds
    copied = generation_copy(policy)
    ids, logprobs = generated(copied)
    expected_ids, expected = generated(policy)
    assert ids == expected_ids
    assert np.allclose(logprobs, expected, atol=1e-6)
    assert {weight.dtype for weight in policy.model.parameters()} == {torch.float32}
    assert copied.model.lm_head.weight.dtype == torch.bfloat16
    assert not any(weight.requires_grad for weight in copied.model.parameters())


def test_no_matrix_is_cast_while_a_copy_generates():
    policy = half_policy()
    for each, cast in ((policy, True), (generation_copy(policy), False)):
        with MatrixCasts(each) as casts:
            generated(each)
        assert bool(casts.number) is cast


def test_a_copy_is_refreshed():
    policy = half_policy()
    copied = generation_copy(policy)
    before = generated(copied)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(1.1)
    assert np.array_equal(generated(copied)[1], before[1])
    refresh(copied, policy)
    assert generated(copied)[1][0] != pytest.approx(before[1][0])
    for mine, current in zip(copied.model.parameters(), policy.model.parameters(), strict=True):
        assert torch.equal(mine, current.to(mine.dtype))


def test_in_float32_a_policy_is_its_own_copy(policy):
    assert generation_copy(policy) is policy


def test_a_policy_that_is_not_trained_is_cast_in_place():
    policy = half_policy()
    expected = generated(generation_copy(policy))
    cast_matrices(policy)
    ids, logprobs = generated(policy)
    assert ids == expected[0]
    assert np.array_equal(logprobs, expected[1])
    assert generation_copy(policy) is policy
