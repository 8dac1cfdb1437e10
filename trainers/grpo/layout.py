"""Layout: packs as tensors, in which the episodes of a group share the prompt's KV cache.

Tokens stand in one long row: the prompts first, then what follows them in each episode (its *completion*: messages of
the policy and observations), in blocks of completions of like length. Matrices are multiplied with the whole row. For
attention each block becomes ``(completions, width)``, with the keys and values of its prompt before the completion's
own: a completion attends to its prompt and itself, but to none of the others. Logits are computed at sampled positions
only. Padding stands on the right of prompts and completions, where nothing attends to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deepeyes_env.agents.transformers.attention import attention_output
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence, buckets
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.grpo.packing import Pack


@dataclass(frozen=True, slots=True)
class Block:
    """Completions of like length, ``E`` of them, as tensors.

    Attributes:
        rows: The episodes' numbers in the batch.
        prompt_index: ``(E,)`` ``int64``: which prompt each follows.
        width: Length of each, padding included.
        completion_ids: ``(E, N)`` ``int64``: ids of the policy's tokens, from the left.
        completion_mask: ``(E, N)`` ``bool``: which of ``completion_ids`` are tokens; the rest is padding.
        attention_mask: ``(E, 1, width, P + width)`` ``bool``; first the columns of the prompt.
        output_mask: ``(E, 1, N, P + width)`` ``bool``: the same for the tokens that ``completion_ids`` follow.
    """

    rows: tuple[int, ...]
    prompt_index: torch.Tensor
    width: int
    completion_ids: torch.Tensor
    completion_mask: torch.Tensor
    attention_mask: torch.Tensor
    output_mask: torch.Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Packs with prompts of like length; an ``Attention`` over their ``T`` positions.

    Attributes:
        ids: ``(T,)`` ``int64`` token ids.
        positions: ``(3, T)`` ``int64`` rotary positions: those that each episode would have alone.
        images: The images in the order of their tokens.
        prompts: How many prompts there are, and the length of each, padding included: ``G``, ``P``.
        blocks: What follows them.
        output_positions: Where logits are computed: at the tokens that the policy's tokens follow. For each block as
            many as it has ``completion_ids``, padding included.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    images: tuple[ImageRef, ...]
    prompts: tuple[int, int]
    blocks: tuple[Block, ...]
    output_positions: torch.Tensor

    def select_outputs(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the tokens from whose hidden states the policy's tokens were sampled."""
        return tokens.index_select(0, self.output_positions)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layer: int, final: bool
    ) -> torch.Tensor:
        """See ``Attention``."""
        number, width = self.prompts
        sizes = [number * width, *(len(block.rows) * block.width for block in self.blocks)]
        (keys, *own_keys), (values, *own_values) = key.split(sizes), value.split(sizes)
        keys, values = keys.unflatten(0, self.prompts), values.unflatten(0, self.prompts)
        outputs = []
        if final:
            queries = query.split([block.completion_ids.numel() for block in self.blocks])
        else:
            of_prompts, *queries = query.split(sizes)
            outputs.append(attention_output(of_prompts.unflatten(0, self.prompts), keys, values))
        for block, own_query, own_key, own_value in zip(self.blocks, queries, own_keys, own_values, strict=True):
            shape = (len(block.rows), block.width)
            block_keys, block_values = (
                torch.cat([shared.index_select(0, block.prompt_index), own.unflatten(0, shape)], 1)
                for shared, own in ((keys, own_key), (values, own_value))
            )
            mask = block.output_mask if final else block.attention_mask
            block_query = own_query.unflatten(0, (len(block.rows), -1))
            outputs.append(attention_output(block_query, block_keys, block_values, mask))
        return torch.cat([output.flatten(0, 1) for output in outputs])


def layouts(policy: VisionPolicy, packs: Sequence[Pack]) -> list[Layout]:
    """Lay packs out, those with prompts of like length together."""
    return [_laid_out(policy, bucket) for bucket in buckets(packs, lambda each: len(each.prompt))]


@dataclass(frozen=True, slots=True)
class _Completion:
    row: int
    prompt_index: int
    tokens: TokenSequence

    def __len__(self) -> int:
        return len(self.tokens)


def _laid_out(policy: VisionPolicy, packs: Sequence[Pack]) -> Layout:
    """Lay out packs with prompts of like length."""
    prompts = [each.prompt for each in packs]
    completions = [
        _Completion(row, number, tokens)
        for number, each in enumerate(packs)
        for row, tokens in zip(each.rows, each.completions, strict=True)
    ]
    divided = buckets(completions, len)
    ids, positions, following = _table(policy, prompts, [0] * len(prompts))
    tables, width = [(ids, positions)], ids.shape[1]
    lengths = np.array(list(map(len, prompts)))
    blocks, output_positions, start = [], [], ids.size
    for bucket in divided:
        index = np.array([each.prompt_index for each in bucket])
        ids, positions, _ = _table(policy, [each.tokens for each in bucket], [following[number] for number in index])
        block, before = _block(policy, bucket, ids, index, lengths[index], width)
        # The first token of a completion follows its prompt, whatever stands between.
        prompt_ends = index * width + lengths[index] - 1
        own_positions = start + np.arange(len(bucket))[:, None] * block.width + before
        output_positions.append(np.where(before < 0, prompt_ends[:, None], own_positions).ravel())
        blocks.append(block)
        tables.append((ids, positions))
        start += ids.size
    shown = (*prompts, *(each.tokens for bucket in divided for each in bucket))
    return Layout(
        _tensor(policy, np.concatenate([ids.ravel() for ids, _ in tables])),
        _tensor(policy, np.concatenate([positions.reshape(3, -1) for _, positions in tables], 1)),
        tuple(image for tokens in shown for image in tokens.images),
        (len(prompts), width),
        tuple(blocks),
        _tensor(policy, np.concatenate(output_positions)),
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
    completions: Sequence[_Completion],
    ids: NDArray[np.int64],
    prompt_index: NDArray[np.int64],
    lengths: NDArray[np.int64],
    prompt_width: int,
) -> tuple[Block, NDArray[np.int64]]:
    """Return completions as a block, and the column before each of the policy's tokens; -1: in the prompt.

    Args:
        policy: Whose tokens they are made of.
        completions: What follows the prompts.
        ids: Their tokens ``(E, width)``.
        prompt_index: Which prompt each follows.
        lengths: The length of that prompt.
        prompt_width: Length of each prompt, padding included.
    """
    width = ids.shape[1]
    sampled = [np.flatnonzero(each.tokens.mask) for each in completions]
    shape = (len(completions), max(1, *map(len, sampled)))
    completion_ids, completion_mask = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    before = np.full(shape, -1)
    for row, columns in enumerate(sampled):
        here = slice(len(columns))
        completion_ids[row, here], completion_mask[row, here] = ids[row, columns], True
        before[row, here] = columns - 1
    of_prompt = np.arange(prompt_width) < lengths[:, None]

    def mask_up_to(last: NDArray[np.int64]) -> NDArray[np.bool_]:
        own = np.arange(width) <= last[:, :, None]
        shared = np.broadcast_to(of_prompt[:, None], (*last.shape, of_prompt.shape[1]))
        return np.concatenate([shared, own], 2)[:, None]

    every_column = np.broadcast_to(np.arange(width), (len(completions), width))
    arrays = (completion_ids, completion_mask, mask_up_to(every_column), mask_up_to(before))
    rows = tuple(each.row for each in completions)
    return Block(rows, _tensor(policy, prompt_index), width, *(_tensor(policy, array) for array in arrays)), before


def _tensor(policy: VisionPolicy, array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(array).to(policy.device)
