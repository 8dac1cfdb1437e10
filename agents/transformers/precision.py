"""Matrices in the type that is computed in: a copy of a policy for generation, and policies that are not trained.

Weights that are trained are ``float32``, and autocast casts every matrix again in every forward pass: 8 bytes a weight
for each token that is generated, where a copy in ``bfloat16`` is read in 2. Vectors (norms and biases) stay as they
are, so that both compute the same, but for the embeddings, which the copy holds rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch

from deepeyes_env.agents.transformers.policy import VisionPolicy


def generation_copy(policy: VisionPolicy) -> VisionPolicy:
    """Return a copy that generates as the policy does, faster; the policy itself where there is nothing to be cast."""
    cast = {id(weight): _cast(weight, policy.dtype) for weight in _matrices(policy)}
    if policy.dtype == torch.float32 or not cast:
        return policy
    kept = {id(weight): _cast(weight, weight.dtype) for weight in policy.model.parameters() if id(weight) not in cast}
    # A weight that the memo names is not copied: tied weights stay tied, and no second copy in float32 is made.
    return VisionPolicy(copy.deepcopy(policy.model, {**cast, **kept}).eval(), policy.tokenizer, policy.dtype)


@torch.no_grad()
def refresh(copied: VisionPolicy, policy: VisionPolicy) -> None:
    """Set the weights of a copy to what those of the policy are now."""
    if copied is not policy:
        for mine, current in zip(copied.model.parameters(), policy.model.parameters(), strict=True):
            mine.copy_(current)


@torch.no_grad()
def cast_matrices(policy: VisionPolicy) -> None:
    """Cast the matrices of a policy that is not trained to the type that it computes in."""
    for weight in list(_matrices(policy)):
        weight.requires_grad_(False)
        weight.data = weight.data.to(policy.dtype)


def _matrices(policy: VisionPolicy) -> Iterator[torch.nn.Parameter]:
    """Yield the matrices that are of another type than what is computed in; tied ones once."""
    seen: set[int] = set()
    for module in policy.model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            weight = module.weight
            if isinstance(weight, torch.nn.Parameter) and weight.dtype != policy.dtype and id(weight) not in seen:
                seen.add(id(weight))
                yield weight


def _cast(weight: torch.nn.Parameter, dtype: torch.dtype) -> torch.nn.Parameter:
    return torch.nn.Parameter(weight.detach().to(dtype, copy=True), requires_grad=False)
