"""The language models of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, with what is the same in all layers computed once.

transformers picks the rotations of each axis anew in every layer and norms in seven steps; with small models, and with
one token a row, such steps cost more than the matrices. After its keys and values the last layer computes hidden
states at the selected outputs only (``Attention.select_outputs``). The modules are transformers' own; only the loop is
ours, and the tests hold it to transformers' forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from deepeyes_env.agents.transformers.attention import Attention


def forward(
    text: Any,
    embedded: torch.Tensor,
    positions: torch.Tensor,
    attention: Attention,
    axes: tuple[int, ...],
    deep: Sequence[torch.Tensor] = (),
) -> torch.Tensor:
    """Run the language model.

    Args:
        text: ``Qwen2VLTextModel``, ``Qwen2_5_VLTextModel`` or ``Qwen3VLTextModel``.
        embedded: ``(*positions, hidden size)``: embeddings of tokens and image tokens.
        positions: ``(3, *positions)`` rotary positions.
        attention: Which tokens attend to which, and at which of them hidden states are output.
        axes: The axis along which each pair of channels turns.
        deep: ``(*positions, hidden size)`` each: what is added after the first layer, after the second, and so on.

    Returns:
        ``(*selected positions, hidden size)``: hidden states of the last layer, normed.
    """
    cos, sin = _rotations(text, positions, axes)
    hidden = embedded
    for number, layer in enumerate(text.layers):
        final = number + 1 == len(text.layers)
        if layer.gradient_checkpointing and torch.is_grad_enabled():
            hidden = checkpoint(_layer, layer, number, hidden, cos, sin, attention, final, use_reentrant=False)
        else:
            hidden = _layer(layer, number, hidden, cos, sin, attention, final)
        if number < len(deep):
            hidden = hidden + (attention.select_outputs(deep[number]) if final else deep[number])
    return _normed(text.norm, hidden)


def first_queries_and_keys(
    text: Any, embedded: torch.Tensor, positions: torch.Tensor, axes: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the queries and keys of the first layer, ``(*positions, heads, head size)``, rotated."""
    cos, sin = _rotations(text, positions, axes)
    heads, normed = text.layers[0].self_attn, _normed(text.layers[0].input_layernorm, embedded)
    return _query(heads, normed, cos, sin), _key(heads, normed, cos, sin)


def _rotations(text: Any, positions: torch.Tensor, axes: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines ``(*positions, 1, head size)``; of the sines, the first half is negated.

    A rotation takes ``x`` to ``x * cos + (-second half of x, first half of x) * sin``. Each pair of channels turns with
    the position along one axis: time, height or width (M-RoPE, arXiv 2409.12191).
    """
    chosen = positions.index_select(0, _axes(axes, positions.device))
    angles = chosen.movedim(0, -1)[..., None, :].float() * text.rotary_emb.inv_freq
    scale = text.rotary_emb.attention_scaling
    cos, sin = angles.cos() * scale, angles.sin() * scale
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


@lru_cache(maxsize=8)
def _axes(axes: tuple[int, ...], device: torch.device) -> torch.Tensor:
    return torch.tensor(axes, device=device)


def _layer(
    layer: Any,
    number: int,
    hidden: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    attention: Attention,
    final: bool,
) -> torch.Tensor:
    heads = layer.self_attn
    normed = _normed(layer.input_layernorm, hidden)
    key, value = _key(heads, normed, cos, sin), heads.v_proj(normed).unflatten(-1, (-1, heads.head_dim))
    if final:
        hidden, normed, cos, sin = (attention.select_outputs(tokens) for tokens in (hidden, normed, cos, sin))
    query = _query(heads, normed, cos, sin)
    hidden = hidden + heads.o_proj(attention.attend(query, key, value, number, final))
    return hidden + layer.mlp(_normed(layer.post_attention_layernorm, hidden))


def _query(heads: Any, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    query = heads.q_proj(normed).unflatten(-1, (-1, heads.head_dim))
    return _rotated(_of_heads(heads, "q_norm", query), cos, sin)


def _key(heads: Any, normed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    key = heads.k_proj(normed).unflatten(-1, (-1, heads.head_dim))
    return _rotated(_of_heads(heads, "k_norm", key), cos, sin)


def _of_heads(heads: Any, name: str, x: torch.Tensor) -> torch.Tensor:
    """Norm each head of queries or keys, where the model does so (Qwen3); in ``float32``, as transformers does."""
    norm = getattr(heads, name, None)
    return x if norm is None else _normed(norm, x.float()).to(x.dtype)


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin).to(x.dtype)


def _normed(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)
