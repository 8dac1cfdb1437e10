"""The vision tower of Qwen2.5-VL, with windows of equal size attended to in one batch.

transformers attends to one window of one image after another, which costs most of the time where images are many and
small. The modules are transformers' own; only the loop is ours, and the tests hold it to transformers' forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from deepeyes_env.images.frames import Size


@dataclass(frozen=True, slots=True)
class _Segments:
    """Patches that attend to each other, ``number`` times ``length`` of them; ``None``: all patches in order."""

    patches: torch.Tensor | None
    number: int
    length: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Who attends to whom, and the position of each patch in its image as ``(2, patches)`` rows and columns."""

    positions: torch.Tensor
    windows: tuple[_Segments, ...]
    images: tuple[_Segments, ...]


def encode_images(tower: Any, patches: torch.Tensor, grids: Sequence[Size]) -> torch.Tensor:
    """Run the vision tower; equal to ``tower(patches, grid_thw).pooler_output`` up to rounding.

    The tower takes films, and a still image as a film of equal frames; here each patch is given once, and the weights
    of the frames are added up.

    Args:
        tower: ``Qwen2_5_VisionTransformerPretrainedModel``.
        patches: What ``patches`` returns for the images.
        grids: ``(columns, rows)`` of image tokens of each image.

    Returns:
        ``(sum of columns * rows, hidden size of the language model)``: the image tokens, image by image, row by row.
    """
    window = tower.window_size // tower.patch_size // tower.spatial_merge_size
    plan = _plan(tuple(grids), tower.spatial_merge_size, window, patches.device)
    angles = (plan.positions[..., None] * tower.rotary_pos_emb.inv_freq).permute(1, 0, 2).flatten(1)
    turn = torch.cat((angles, angles), -1)[:, None, :]
    cos, sin = turn.cos(), turn.sin()
    weight = tower.patch_embed.proj.weight.sum(2)
    hidden = F.linear(patches.to(weight.dtype), weight.flatten(1))
    for number, block in enumerate(tower.blocks):
        segments = plan.images if number in tower.fullatt_block_indexes else plan.windows
        if tower.gradient_checkpointing and torch.is_grad_enabled():
            hidden = checkpoint(_block, block, hidden, segments, cos, sin, use_reentrant=False)
        else:
            hidden = _block(block, hidden, segments, cos, sin)
    return tower.merger(hidden)


def _block(block: Any, hidden: torch.Tensor, segments: Sequence[_Segments], cos: Any, sin: Any) -> torch.Tensor:
    hidden = hidden + _attention(block.attn, block.norm1(hidden), segments, cos, sin)
    return hidden + block.mlp(block.norm2(hidden))


def _attention(
    attention: Any, hidden: torch.Tensor, segments: Sequence[_Segments], cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    query, key, value = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).unbind(1)
    query, key = _turned(query, cos, sin), _turned(key, cos, sin)
    mixed = torch.empty_like(value) if segments[0].patches is not None else value
    for part in segments:
        chosen = (x if part.patches is None else x.index_select(0, part.patches) for x in (query, key, value))
        q, k, v = (x.unflatten(0, (part.number, part.length)).transpose(1, 2) for x in chosen)
        output = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling).transpose(1, 2).flatten(0, 1)
        mixed = output if part.patches is None else mixed.index_copy(0, part.patches, output)
    return attention.proj(mixed.flatten(1))


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


@lru_cache(maxsize=64)
def _plan(grids: tuple[Size, ...], merge: int, window: int, device: torch.device) -> _Plan:
    positions, windows, images, start = [], [], [], 0
    for columns, rows in grids:
        cells = np.arange(columns * rows * merge * merge).reshape(rows, columns, merge * merge) + start
        images.append(cells.ravel())
        windows += [
            cells[top : top + window, left : left + window].ravel()
            for top in range(0, rows, window)
            for left in range(0, columns, window)
        ]
        within = np.indices((merge, merge)).reshape(2, 1, 1, -1)
        corner = np.indices((rows, columns))[..., None] * merge
        positions.append((corner + within).reshape(2, -1))
        start += cells.size
    return _Plan(
        torch.from_numpy(np.concatenate(positions, 1)).to(device), _segments(windows, device), _segments(images, device)
    )


def _segments(groups: Sequence[NDArray[np.int64]], device: torch.device) -> tuple[_Segments, ...]:
    lengths = sorted({len(group) for group in groups})
    if len(lengths) == 1 and (np.diff(np.concatenate(groups)) == 1).all():
        return (_Segments(None, len(groups), lengths[0]),)
    parts = []
    for length in lengths:
        chosen = np.concatenate([group for group in groups if len(group) == length])
        parts.append(_Segments(torch.from_numpy(chosen).to(device), len(chosen) // length, length))
    return tuple(parts)
