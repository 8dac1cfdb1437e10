"""The vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, images of equal size attended to in one batch.

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
    """Run the vision tower; equal to transformers' ``tower(patches, grid_thw)`` up to rounding.

    The tower takes films, and a still image as a film of equal frames; here each patch is given once, and the weights
    of the frames are added up. What the towers differ in is read off their modules: windows (Qwen2.5-VL), learned
    positions and deep features (Qwen3-VL; DeepStack, arXiv 2406.04334).

    Args:
        tower: transformers' vision tower.
        patches: What ``patches`` returns for the images.
        grids: ``(columns, rows)`` of image tokens of each image.

    Returns:
        ``(sum of columns * rows, 1 + deep levels, hidden size of the language model)``: the image tokens, image by
        image, row by row. The first of each stands in the text; the others are added to it after the first layers.
    """
    windowed = hasattr(tower, "fullatt_block_indexes")
    window = tower.window_size // tower.patch_size // tower.spatial_merge_size if windowed else 0
    plan = _plan(tuple(grids), tower.spatial_merge_size, window, patches.device)
    angles = (plan.positions[..., None] * tower.rotary_pos_emb.inv_freq).permute(1, 0, 2).flatten(1)
    turn = torch.cat((angles, angles), -1)[:, None, :]
    cos, sin = turn.cos(), turn.sin()
    embed = tower.patch_embed.proj
    weight = embed.weight.sum(2)
    hidden = F.linear(patches.to(weight.dtype), weight.flatten(1), embed.bias)
    if hasattr(tower, "pos_embed"):
        hidden = hidden + _learned_positions(tower, plan.positions, grids)
    deep_blocks = list(getattr(tower, "deepstack_visual_indexes", ()))
    deep = []
    for number, block in enumerate(tower.blocks):
        segments = plan.windows if windowed and number not in tower.fullatt_block_indexes else plan.images
        if getattr(tower, "gradient_checkpointing", False) and torch.is_grad_enabled():
            hidden = checkpoint(_block, block, hidden, segments, cos, sin, use_reentrant=False)
        else:
            hidden = _block(block, hidden, segments, cos, sin)
        if number in deep_blocks:
            deep.append(tower.deepstack_merger_list[deep_blocks.index(number)](hidden))
    return torch.stack([tower.merger(hidden), *deep], 1)


def _learned_positions(tower: Any, positions: torch.Tensor, grids: Sequence[Size]) -> torch.Tensor:
    """Return the learned position of each patch: a square table, stretched over each image and read bilinearly."""
    side, merge = tower.num_grid_per_side, tower.spatial_merge_size
    patches = torch.tensor([columns * rows * merge * merge for columns, rows in grids])
    last = torch.tensor([(rows * merge - 1, columns * merge - 1) for columns, rows in grids])
    scale = ((side - 1) / last).repeat_interleave(patches, 0).T.to(positions.device)
    stretched = positions * scale
    floor = stretched.long().clamp(max=side - 1)
    ceiling, share = (floor + 1).clamp(max=side - 1), stretched - floor
    table = tower.pos_embed.weight
    mixed = torch.zeros_like(table[floor[0]])
    for row, down in ((floor[0], 1 - share[0]), (ceiling[0], share[0])):
        for column, across in ((floor[1], 1 - share[1]), (ceiling[1], share[1])):
            mixed = mixed + (down * across)[:, None] * table[row * side + column]
    return mixed


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
        if window:
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
    if not lengths:
        return ()
    if len(lengths) == 1 and (np.diff(np.concatenate(groups)) == 1).all():
        return (_Segments(None, len(groups), lengths[0]),)
    parts = []
    for length in lengths:
        chosen = np.concatenate([group for group in groups if len(group) == length])
        parts.append(_Segments(torch.from_numpy(chosen).to(device), len(chosen) // length, length))
    return tuple(parts)
