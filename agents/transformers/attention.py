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

    Args:
        query: ``(B, L, heads, head size)``.
        key: ``(B, K, key heads, head size)``; one for every so many heads of the queries.
        value: The same.
        attention_mask: ``(B, 1, L, K)`` ``bool``; ``None``: causal, with as many keys as queries.
    """
    grouped = query.shape[2] != key.shape[2]
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    output = F.scaled_dot_product_attention(
        query, key, value, attention_mask, is_causal=attention_mask is None, enable_gqa=grouped
    )
    return output.transpose(1, 2).flatten(2)
