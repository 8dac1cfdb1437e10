"""Attention: who looks at whom while a language model reads, and whose final states are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812

from deepeyes_env.agents.transformers.kv import KeyValues


class Attention(Protocol):
    """Who looks at whom. Tensors of tokens are ``(*places, ...)``, in whatever order of places a reader chooses."""

    def wanted(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return those whose final states are wanted: what the last layer makes of the others is never looked at."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """Return what each query is told.

        Args:
            query: ``(*places, heads, head size)``; in the ``final`` layer, those of the wanted ones only.
            key: ``(*places, key heads, head size)`` of all.
            value: The same.
            layer: Number of the layer.
            final: Whether it is the last one.

        Returns:
            ``(*places of the queries, heads * head size)``.
        """


@dataclass(frozen=True, slots=True)
class MaskedAttention:
    """Rows of tokens: places are ``(B, L)``.

    Attributes:
        seen: ``(B, 1, L, past + L)`` ``bool``: who may look at whom; each token at itself at least.
        cache: What was read before, made ready for what is read now; takes it in.
        last_only: Only the state of the last token in each row is wanted.
    """

    seen: torch.Tensor
    cache: KeyValues | None = None
    last_only: bool = False

    def wanted(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the last token of each row, or all."""
        return tokens[:, -1:] if self.last_only else tokens

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """See ``Attention``."""
        if self.cache is not None:
            key, value = self.cache.update(key, value, layer)
        return attended(query, key, value, self.seen[:, :, -query.shape[1] :])


def attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Return what queries ``(B, L, heads, head size)`` are told, ``(B, L, heads * head size)``.

    Args:
        query: Who asks.
        key: ``(B, K, key heads, head size)``; one for every so many heads of the queries.
        value: The same.
        seen: ``(B, 1, L, K)`` ``bool``; ``None``: each token those before it and itself, and there are as many keys.
    """
    grouped = query.shape[2] != key.shape[2]
    query, key, value = (states.transpose(1, 2) for states in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, seen, is_causal=seen is None, enable_gqa=grouped)
    return mixed.transpose(1, 2).flatten(2)
