"""KVCache: the KV cache of many conversations, as rows that can be cut out and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812

ROOM = 64
"""Columns by which the buffers grow, so that most new tokens are written in place."""


class KVCache:
    """The KV cache of a batch of conversations: keys and values of every token in every layer.

    Keys are rotated before they come here, so that a token may stand in any column. Buffers hold token after token, all
    heads of one next to each other: rows of them are cut out and put together in one pass.

    Attributes:
        filled: ``(B, L)`` ``bool``: which columns hold a token of the row.
        keys: For each layer ``(B, L or more, heads, head size)``.
        values: The same.
    """

    def __init__(self, filled: torch.Tensor) -> None:
        self.filled = filled
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def extend(self, new: torch.Tensor) -> torch.Tensor:
        """Make ready for new columns; the model then fills them through ``update``.

        Args:
            new: ``(B, N)`` ``bool``: which of them hold a token.

        Returns:
            The attention mask ``(B, 1, N, L + N)`` ``bool``. A token attends to those before it and itself; an empty
            column to itself only, for an attention over nothing is not a number.
        """
        length = new.shape[1]
        past, self.filled = self.filled, torch.cat([self.filled, new], 1)
        if length == 1:
            return self.filled[:, None, None]
        return torch.cat([past[:, None, None].expand(-1, 1, length, -1), causal_mask(new)], 3)

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Take in what a layer made of the new columns ``(B, N, heads, head size)``; returns that of all columns."""
        if layer == len(self.keys):
            empty = keys[:, :0]
            self.keys.append(empty)
            self.values.append(empty)
        return self._written(self.keys, layer, keys), self._written(self.values, layer, values)

    def _written(self, buffers: list[torch.Tensor], layer: int, new: torch.Tensor) -> torch.Tensor:
        stop = self.filled.shape[1]
        if buffers[layer].shape[1] < stop:
            buffers[layer] = F.pad(buffers[layer], (0, 0, 0, 0, 0, stop + ROOM - buffers[layer].shape[1]))
        buffers[layer][:, stop - new.shape[1] : stop] = new
        return buffers[layer][:, :stop]

    @classmethod
    def gathered(cls, picked: Sequence[tuple[KVCache, int]], room: int = ROOM) -> KVCache:
        """Return rows of one or several batches as a new one, their tokens moved to the right.

        Args:
            picked: Batch and row of each; a row may be picked several times.
            room: Columns that can be added before the buffers have to grow.
        """
        selections: dict[int, _Selection] = {}
        for target, (source, row) in enumerate(picked):
            selections.setdefault(id(source), _Selection(source)).add(row, target)
        orders = [selection.order() for selection in selections.values()]
        length = max(order.shape[1] for order in orders)
        device = picked[0][0].filled.device
        whole = cls(torch.zeros(len(picked), length, dtype=torch.bool, device=device))
        indices, targets = [], []
        for selection, order in zip(selections.values(), orders, strict=True):
            rows = torch.tensor(selection.rows, device=device)
            held = order.shape[1]
            targets.append(torch.tensor(selection.targets, device=device))
            whole.filled[targets[-1], length - held :] = selection.source.filled[rows].gather(1, order)
            # Columns that are empty, or room, hold whatever stands first: numbers, which attention weighs with 0.
            capacity = selection.source.keys[0].shape[1]
            indices.append(F.pad(order + rows[:, None] * capacity, (length - held, room)))
        for layer in range(len(picked[0][0].keys)):
            keys = [selection.source.keys[layer] for selection in selections.values()]
            values = [selection.source.values[layer] for selection in selections.values()]
            whole.keys.append(_selected(keys, indices, targets))
            whole.values.append(_selected(values, indices, targets))
        return whole


@dataclass(slots=True)
class _Selection:
    """What is picked from one cache: its rows, and which rows of the new one they become."""

    source: KVCache
    rows: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def add(self, row: int, target: int) -> None:
        """Add a row, and the row of the new cache that it becomes."""
        self.rows.append(row)
        self.targets.append(target)

    def order(self) -> torch.Tensor:
        """Return the columns of each row ``(rows, L)``, empty ones first, without those that are empty in all."""
        filled = self.source.filled[torch.tensor(self.rows, device=self.source.filled.device)]
        # A stable sort of False before True keeps the order of the tokens.
        return filled.int().argsort(dim=1, stable=True)[:, filled.shape[1] - int(filled.sum(1).max()) :]


def causal_mask(new: torch.Tensor) -> torch.Tensor:
    """Return the causal attention mask of new columns ``(B, N)``: ``(B, 1, N, N)`` ``bool``."""
    square = torch.ones(new.shape[1], new.shape[1], dtype=torch.bool, device=new.device)
    return (square.tril() & new[:, None, :] | torch.eye(new.shape[1], dtype=torch.bool, device=new.device))[:, None]


def _selected(
    buffers: Sequence[torch.Tensor], indices: Sequence[torch.Tensor], targets: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return rows of buffers by the indices of their columns in the flattened buffers, each in its target row."""
    parts = [
        buffer.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, index.shape)
        for buffer, index in zip(buffers, indices, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
    for part, target in zip(parts, targets, strict=True):
        whole.index_copy_(0, target, part)
    return whole
