"""A small model with random weights."""

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
