"""Layout: packs as tensors, in which a prompt stands once however many episodes begin with it.

Tokens stand in one long row: the prompts first, then what follows them in each episode (its *rest*), in blocks of rests
of like length. Matrices are multiplied with the whole row. For attention each block becomes ``(rests, width)``, with
the keys of its prompt before the rest's own: a rest sees its prompt and itself, but none of the others. Padding stands
on the right of prompts and rests, where nobody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.attention import attended
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence, buckets
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.grpo.packing import Pack


@dataclass(frozen=True, slots=True)
class Block:
    """Rests of like length, ``E`` of them, as tensors.

    Attributes:
        rows: The episodes' numbers in the batch.
        owners: ``(E,)`` ``int64``: which prompt each follows.
        width: Places of each, padding included.
        drawn: ``(E, N)`` ``int64``: ids of the policy's tokens, from the left.
        taken: ``(E, N)`` ``bool``: which places of ``drawn`` are taken.
        seen: ``(E, 1, width, P + width)`` ``bool``: who looks at whom; first the columns of the prompt.
        seen_last: ``(E, 1, N, P + width)`` ``bool``: the same for the tokens that those in ``drawn`` follow.
    """

    rows: tuple[int, ...]
    owners: torch.Tensor
    width: int
    drawn: torch.Tensor
    taken: torch.Tensor
    seen: torch.Tensor
    seen_last: torch.Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Packs with prompts of like length; an ``Attention`` over their ``T`` places.

    Attributes:
        ids: ``(T,)`` ``int64`` token ids.
        positions: ``(3, T)`` ``int64`` rotary positions: those that each episode would have alone.
        images: The images in the order of their tokens.
        prompts: How many prompts there are, and places of each, padding included: ``G``, ``P``.
        blocks: What follows them.
        before: Places of the tokens that the policy's tokens follow, from whose states those were drawn: for each
            block as many as its ``drawn`` has places.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    images: tuple[ImageRef, ...]
    prompts: tuple[int, int]
    blocks: tuple[Block, ...]
    before: torch.Tensor

    def wanted(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return those that the policy's tokens were drawn from."""
        return tokens.index_select(0, self.before)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """See ``Attention``."""
        number, width = self.prompts
        sizes = [number * width, *(len(block.rows) * block.width for block in self.blocks)]
        (keys, *own_keys), (values, *own_values) = key.split(sizes), value.split(sizes)
        keys, values = keys.unflatten(0, self.prompts), values.unflatten(0, self.prompts)
        mixed = []
        if final:
            queries = query.split([block.drawn.numel() for block in self.blocks])
        else:
            of_prompts, *queries = query.split(sizes)
            mixed.append(attended(of_prompts.unflatten(0, self.prompts), keys, values))
        for block, asking, own_key, own_value in zip(self.blocks, queries, own_keys, own_values, strict=True):
            shape = (len(block.rows), block.width)
            known, told = (
                torch.cat([shared.index_select(0, block.owners), own.unflatten(0, shape)], 1)
                for shared, own in ((keys, own_key), (values, own_value))
            )
            seen = block.seen_last if final else block.seen
            mixed.append(attended(asking.unflatten(0, (len(block.rows), -1)), known, told, seen))
        return torch.cat([each.flatten(0, 1) for each in mixed])


def layouts(policy: VisionPolicy, packs: Sequence[Pack]) -> list[Layout]:
    """Lay packs out, those with prompts of like length together."""
    return [_laid_out(policy, bucket) for bucket in buckets(packs, lambda each: len(each.prompt))]


@dataclass(frozen=True, slots=True)
class _Rest:
    row: int
    owner: int
    tokens: TokenSequence

    def __len__(self) -> int:
        return len(self.tokens)


def _laid_out(policy: VisionPolicy, packs: Sequence[Pack]) -> Layout:
    """Lay out packs with prompts of like length."""
    prompts = [each.prompt for each in packs]
    rests = [
        _Rest(row, owner, tokens)
        for owner, each in enumerate(packs)
        for row, tokens in zip(each.rows, each.rests, strict=True)
    ]
    divided = buckets(rests, len)
    ids, positions, following = _table(policy, prompts, [0] * len(prompts))
    tables, width = [(ids, positions)], ids.shape[1]
    lengths = np.array(list(map(len, prompts)))
    blocks, before, start = [], [], ids.size
    for bucket in divided:
        owners = np.array([rest.owner for rest in bucket])
        ids, positions, _ = _table(policy, [rest.tokens for rest in bucket], [following[owner] for owner in owners])
        block, reach = _block(policy, bucket, ids, owners, lengths[owners], width)
        # The first token of a rest follows its prompt, whoever stands between.
        ends = owners * width + lengths[owners] - 1
        places = start + np.arange(len(bucket))[:, None] * block.width + reach
        before.append(np.where(reach < 0, ends[:, None], places).ravel())
        blocks.append(block)
        tables.append((ids, positions))
        start += ids.size
    shown = (*prompts, *(rest.tokens for bucket in divided for rest in bucket))
    return Layout(
        _tensor(policy, np.concatenate([ids.ravel() for ids, _ in tables])),
        _tensor(policy, np.concatenate([positions.reshape(3, -1) for _, positions in tables], 1)),
        tuple(image for tokens in shown for image in tokens.images),
        (len(prompts), width),
        tuple(blocks),
        _tensor(policy, np.concatenate(before)),
    )


def _table(
    policy: VisionPolicy, sequences: Sequence[TokenSequence], starts: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
    """Return ids ``(B, L)`` and positions ``(3, B, L)`` of sequences, each from the left, and what follows them."""
    shape = (len(sequences), max(1, *map(len, sequences)))
    ids, positions, following = np.zeros(shape, np.int64), np.zeros((3, *shape), np.int64), []
    for row, (tokens, start) in enumerate(zip(sequences, starts, strict=True)):
        ids[row, : len(tokens)] = tokens.ids
        positions[:, row, : len(tokens)], after = policy.positions(tokens, start)
        following.append(after)
    return ids, positions, following


def _block(
    policy: VisionPolicy,
    rests: Sequence[_Rest],
    ids: NDArray[np.int64],
    owners: NDArray[np.int64],
    lengths: NDArray[np.int64],
    prompt_width: int,
) -> tuple[Block, NDArray[np.int64]]:
    """Return rests as a block, and how far in a rest the token stands that each drawn one follows; -1: before it.

    Args:
        policy: Whose tokens they are made of.
        rests: What follows the prompts.
        ids: Their tokens ``(E, width)``.
        owners: Which prompt each follows.
        lengths: The length of that prompt.
        prompt_width: Places of each prompt, padding included.
    """
    width = ids.shape[1]
    written = [np.flatnonzero(rest.tokens.mask) for rest in rests]
    shape = (len(rests), max(1, *map(len, written)))
    drawn, reach, taken = np.zeros(shape, np.int64), np.full(shape, -1), np.zeros(shape, np.bool_)
    for row, columns in enumerate(written):
        here = slice(len(columns))
        drawn[row, here], reach[row, here], taken[row, here] = ids[row, columns], columns - 1, True
    shown = np.arange(prompt_width) < lengths[:, None]

    def seen(reach: NDArray[np.int64]) -> NDArray[np.bool_]:
        own = np.arange(width) <= reach[:, :, None]
        return np.concatenate([np.broadcast_to(shown[:, None], (*reach.shape, shown.shape[1])), own], 2)[:, None]

    whole = np.broadcast_to(np.arange(width), (len(rests), width))
    arrays = (drawn, taken, seen(whole), seen(reach))
    rows = tuple(rest.row for rest in rests)
    return Block(rows, _tensor(policy, owners), width, *(_tensor(policy, array) for array in arrays)), reach


def _tensor(policy: VisionPolicy, array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(array).to(policy.device)
