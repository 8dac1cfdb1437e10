"""The shipped policy, for tests that look at how it reads."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def policy():
    import torch

    from deepeyes_env.agents.transformers.policy import VisionPolicy
    from deepeyes_env.trainers.tiny import BASE

    torch.set_num_threads(1)
    return VisionPolicy.load(BASE)
