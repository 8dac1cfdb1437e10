"""Small models with random weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.fixture(scope="session")
def policy():
    from deepeyes_env.agents.transformers.policy import VisionPolicy
    from tests.small_model import byte_tokenizer, random_model

    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    return VisionPolicy(random_model(tokenizer), tokenizer)


@pytest.fixture(scope="session", params=["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def any_policy(request, policy):
    """One of each family that is run here."""
    from deepeyes_env.agents.transformers.policy import VisionPolicy
    from tests.small_model import byte_tokenizer, random_model

    if policy.model.config.model_type == request.param:
        return policy
    tokenizer = byte_tokenizer()
    return VisionPolicy(random_model(tokenizer, family=request.param), tokenizer)
