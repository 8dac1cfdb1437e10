"""The language model of Qwen2.5-VL, with what is the same in all layers computed once.

transformers picks the rotations of each axis anew in every layer and norms in seven steps; with small models, and with
one token a row, such steps cost more than the matrices. The modules are transformers' own; only the loop is ours, and
the tests hold it to transformers' forward.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from agents.transformers.kv import KeyValues


def read(
    text: Any, embedded: torch.Tensor, positions: torch.Tensor, seen: torch.Tensor, cache: KeyValues | None = None
) -> torch.Tensor:
    """Run the language model.

    Args:
        text: ``Qwen2_5_VLTextModel``.
        embedded: ``(B, L, hidden size)``: tokens and image tokens.
        positions: ``(3, B, L)`` rotary positions.
        seen: ``(B, 1, L, past + L)`` ``bool``: who may look at whom.
        cache: What was read before, made ready for what is read now; takes it in.

    Returns:
        ``(B, L, hidden size)``: final states, normed.
    """
    cos, sin = _rotations(text, positions)
    hidden = embedded
    for number, layer in enumerate(text.layers):
        if layer.gradient_checkpointing and torch.is_grad_enabled():
            hidden = checkpoint(_layer, layer, number, hidden, cos, sin, seen, None, use_reentrant=False)
        else:
            hidden = _layer(layer, number, hidden, cos, sin, seen, cache)
    return _normed(text.norm, hidden)


def _rotations(text: Any, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines ``(B, 1, L, head size)``; of the sines, the first half is negated.

    A rotation takes ``x`` to ``x * cos + (-second half of x, first half of x) * sin``. Each pair of channels turns with
    the position along one axis: time, height or width (M-RoPE, arXiv 2409.12191).
    """
    axes = _axes(tuple(text.config.rope_parameters["mrope_section"]), positions.device)
    angles = positions.index_select(0, axes).permute(1, 2, 0)[:, None].float() * text.rotary_emb.inv_freq
    scale = text.rotary_emb.attention_scaling
    cos, sin = angles.cos() * scale, angles.sin() * scale
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


@lru_cache(maxsize=8)
def _axes(sections: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return the axis along which each pair of channels turns."""
    return torch.repeat_interleave(torch.tensor(sections, device=device))


def _layer(
    layer: Any,
    number: int,
    hidden: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    seen: torch.Tensor,
    cache: KeyValues | None,
) -> torch.Tensor:
    attention = layer.self_attn
    normed = _normed(layer.input_layernorm, hidden)
    query, key, value = (
        project(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    query, key = _rotated(query, cos, sin), _rotated(key, cos, sin)
    if cache is not None:
        key, value = cache.update(key, value, number)
    mixed = F.scaled_dot_product_attention(
        query, key, value, seen, scale=attention.scaling, enable_gqa=attention.num_key_value_groups > 1
    )
    hidden = hidden + attention.o_proj(mixed.transpose(1, 2).flatten(2))
    return hidden + layer.mlp(_normed(layer.post_attention_layernorm, hidden))


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _normed(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
