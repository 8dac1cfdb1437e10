"""Attention: which tokens attend to which in a forward pass, and at which of them hidden states are output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812

from deepeyes_env.agents.transformers.kv import KVCache


class Attention(Protocol):
    """Which tokens attend to which. Tensors of tokens are ``(*positions, ...)``, in a layout of the implementation."""

    def select_outputs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens at which the last layer computes hidden states: logits are computed there only."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """Return the attention output of each query.

        Args:
            query: ``(*positions, heads, head size)``; in the ``final`` layer, those of the selected outputs only.
            key: ``(*positions, key heads, head size)`` of all.
            value: The same.
            layer: Number of the layer.
            final: Whether it is the last one.

        Returns:
            ``(*positions of the queries, heads * head size)``.
        """


@dataclass(frozen=True, slots=True)
class MaskedAttention:
    """Rows of tokens: positions are ``(B, L)``.

    Attributes:
        attention_mask: ``(B, 1, L, past + L)`` ``bool``: what each token may attend to; itself at least.
        cache: KV cache of the tokens before, extended for those of this pass, whose keys and values it takes in.
        last_only: Only the last token in each row has an output.
    """

    attention_mask: torch.Tensor
    cache: KVCache | None = None
    last_only: bool = False

    def select_outputs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the last token of each row, or all."""
        return tokens[:, -1:] if self.last_only else tokens

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """See ``Attention``."""
        if self.cache is not None:
            key, value = self.cache.update(key, value, layer)
        return attention_output(query, key, value, self.attention_mask[:, :, -query.shape[1] :])


def attention_output(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return scaled dot-product attention with grouped heads, ``(B, L, heads * head size)``.

    With a mask and ``enable_gqa`` together, CUDA has no kernel but the one that writes out every score (13 bytes a
    score with its backward pass, instead of half a one). So a mask never goes with ``enable_gqa``: where each row has
    one query, the heads of a group are taken for queries, and where it has several, keys and values are repeated.

    Args:
        query: ``(B, L, heads, head size)``.
        key: ``(B, K, key heads, head size)``; one for every so many heads of the queries.
        value: The same.
        attention_mask: ``(B, 1, L, K)`` ``bool``; ``None``: causal, with as many keys as queries.
    """
    shared = query.shape[2] // key.shape[2]
    if attention_mask is not None and shared > 1:
        if query.shape[1] == 1:
            grouped = query[:, 0].unflatten(1, (-1, shared))
            keys, values = key.transpose(1, 2), value.transpose(1, 2)
            return F.scaled_dot_product_attention(grouped, keys, values, attention_mask).flatten(1)[:, None]
        key, value = (states.repeat_interleave(shared, 2) for states in (key, value))
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    causal = attention_mask is None
    output = F.scaled_dot_product_attention(
        query, key, value, attention_mask, is_causal=causal, enable_gqa=causal and shared > 1
    )
    return output.transpose(1, 2).flatten(2)
