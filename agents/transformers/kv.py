"""KeyValues: what a language model keeps of the conversations it has read, as rows that can be cut out and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

ROOM = 64
"""Columns by which the buffers grow, so that most new tokens are written in place."""


class KeyValues:
    """Keys and values of a batch of conversations; takes the part of a transformers cache.

    Keys are rotated before they come here, so that a token may stand in any column.

    Attributes:
        filled: ``(B, L)`` ``bool``: which columns hold a token of the row.
        keys: For each layer ``(B, heads, L or more, head size)``.
        values: The same.
    """

    def __init__(self, filled: torch.Tensor) -> None:
        self.filled = filled
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []

    def extend(self, new: torch.Tensor) -> torch.Tensor:
        """Make ready for new columns; the model then fills them through :meth:`update`.

        Args:
            new: ``(B, N)`` ``bool``: which of them hold a token.

        Returns:
            ``(B, 1, N, L + N)`` ``bool``: who may look at whom. A token sees those before it and itself; an empty
            column itself only, for an attention over nothing is not a number.
        """
        length = new.shape[1]
        past, self.filled = self.filled, torch.cat([self.filled, new], 1)
        if length == 1:
            return self.filled[:, None, None]
        seen = own_attention(new)
        return torch.cat([past[:, None, None].expand(-1, 1, length, -1), seen], 3)

    def update(self, keys: torch.Tensor, values: torch.Tensor, layer: int, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Take in what a layer made of the new columns ``(B, heads, N, head size)``; returns that of all columns."""
        if layer == len(self.keys):
            empty = keys.new_empty(*keys.shape[:2], 0, keys.shape[3])
            self.keys.append(empty)
            self.values.append(empty)
        stop = self.filled.shape[1]
        start = stop - keys.shape[2]
        if self.keys[layer].shape[2] < stop:
            room = (0, 0, 0, stop + ROOM - self.keys[layer].shape[2])
            self.keys[layer], self.values[layer] = F.pad(self.keys[layer], room), F.pad(self.values[layer], room)
        self.keys[layer][:, :, start:stop] = keys
        self.values[layer][:, :, start:stop] = values
        return self.keys[layer][:, :, :stop], self.values[layer][:, :, :stop]

    def take(self, rows: torch.Tensor) -> KeyValues:
        """Return some rows, their tokens moved to the right and empty columns dropped.

        Args:
            rows: ``(N,)`` indices; may repeat.
        """
        filled = self.filled[rows]
        # A stable sort of False before True keeps the order of the tokens.
        order = filled.int().argsort(dim=1, stable=True)[:, filled.shape[1] - int(filled.sum(1).max()) :]
        taken = KeyValues(filled.gather(1, order))
        at = (rows[:, None], slice(None), order)
        taken.keys = [keys[at].transpose(1, 2) for keys in self.keys]
        taken.values = [values[at].transpose(1, 2) for values in self.values]
        return taken

    @classmethod
    def joined(cls, parts: Sequence[KeyValues]) -> KeyValues:
        """Return the rows of several batches as one, shorter ones filled up from the left."""
        if len(parts) == 1:
            return parts[0]
        length = max(part.filled.shape[1] for part in parts)
        whole = cls(torch.cat([F.pad(part.filled, (length - part.filled.shape[1], 0)) for part in parts]))
        for layer in range(len(parts[0].keys)):
            whole.keys.append(torch.cat([_padded(part.keys[layer], part, length) for part in parts]))
            whole.values.append(torch.cat([_padded(part.values[layer], part, length) for part in parts]))
        return whole


def own_attention(new: torch.Tensor) -> torch.Tensor:
    """Return who may look at whom among new columns ``(B, N)``: ``(B, 1, N, N)`` ``bool``."""
    square = torch.ones(new.shape[1], new.shape[1], dtype=torch.bool, device=new.device)
    return (square.tril() & new[:, None, :] | torch.eye(new.shape[1], dtype=torch.bool, device=new.device))[:, None]


def _padded(columns: torch.Tensor, part: KeyValues, length: int) -> torch.Tensor:
    held = part.filled.shape[1]
    return F.pad(columns[:, :, :held], (0, 0, length - held, 0))
