"""Collator: examples as a batch of a model of the Qwen-VL families, its labels ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from deepeyes_env.agents.transformers.architecture import architecture_of
from deepeyes_env.agents.transformers.chat import Chat
from deepeyes_env.agents.transformers.pixels import patches
from deepeyes_env.trainers.sft.encoding import encode_example
from deepeyes_env.trainers.sft.examples import Example

IGNORED = -100
"""The label of a token that is not trained on."""

COLUMN = "example"
"""Column of the rows that a trainer is given: the number of the example. Images are opened when a batch is made."""


class Collator:
    """Makes batches of rows that name examples by their numbers.

    Args:
        examples: The examples.
        chat: The model's.
        config: transformers' configuration of the model.
    """

    def __init__(self, examples: Sequence[Example], chat: Chat, config: Any) -> None:
        vision = config.vision_config
        made = architecture_of(config.model_type)
        self._examples, self._chat = examples, chat
        self._patch, self._merge, self._frames = (
            vision.patch_size,
            vision.spatial_merge_size,
            vision.temporal_patch_size,
        )
        self._mean, self._std = made.mean, made.std
        pad = chat.tokenizer.pad_token_id
        self._pad = chat.end_of_turn if pad is None else pad

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, torch.Tensor]:
        """Return a batch, padded on the right.

        ``input_ids``, ``attention_mask``, ``labels`` and ``mm_token_type_ids`` (1: part of an image) are
        ``(B, L)`` ``int64``. Where there are images, ``pixel_values`` has the patches of all, and ``image_grid_thw``
        ``(images, 3)`` their numbers of frames, rows and columns.
        """
        factor = self._patch * self._merge
        sequences = [encode_example(self._chat, self._examples[row[COLUMN]], factor) for row in rows]
        shape = (len(sequences), max(map(len, sequences)))
        ids, labels = torch.full(shape, self._pad), torch.full(shape, IGNORED)
        attended = torch.zeros(shape, dtype=torch.int64)
        for row, tokens in enumerate(sequences):
            length, own = len(tokens), torch.from_numpy(tokens.mask)
            ids[row, :length] = torch.from_numpy(tokens.ids.copy())
            labels[row, :length] = torch.where(own, ids[row, :length], IGNORED)
            attended[row, :length] = 1
        shown = (ids == self._chat.image_token) & (attended == 1)
        batch = {
            "input_ids": ids,
            "attention_mask": attended,
            "labels": labels,
            "mm_token_type_ids": shown.to(torch.int64),
        }
        images = [image.pixels() for tokens in sequences for image in tokens.images]
        if images:
            batch["pixel_values"] = patches(
                images, self._patch, self._merge, frames=self._frames, mean=self._mean, std=self._std
            )
            sizes = [[1, each.shape[0] // self._patch, each.shape[1] // self._patch] for each in images]
            batch["image_grid_thw"] = torch.tensor(sizes)
        return batch
