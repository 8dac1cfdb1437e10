"""Losses of the tiny policy's training: imitation with supervised attention, and vision pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import causal_mask
from deepeyes_env.agents.transformers.language import first_queries_and_keys
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import buckets
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.trainers.tiny.examples import Example, images_of
from deepeyes_env.trainers.tiny.phrases import names
from deepeyes_env.trainers.tiny.scenes import Picture
from deepeyes_env.trainers.tiny.task import PAIRS, TASKS, TinyTask

WEIGHTS = {"pattern": 3.0, "number": 1.0, "colour": 0.5, "other": 0.3}
"""Loss weights of tokens by kind; the few that must be read from the image weigh most."""

POINTING_HEADS = 2
"""Heads of the first layer with supervised attention: one to the object, one to its pattern."""

_RATIO = 1.3
_OUT_OF_SIGHT = -1e9


class ImitationLoss:
    """Imitation with supervised attention.

    Args:
        policy: The model.
    """

    def __init__(self, policy: VisionPolicy) -> None:
        self._policy = policy
        numbers = TASKS[policy.model.config.model_type].numbers
        vocabulary = policy.tokenizer.get_vocab()
        spelled = policy.tokenizer.backend_tokenizer.normalizer.normalize_str
        self._weights = torch.full((len(vocabulary),), WEIGHTS["other"])
        colours = [word for word in (*COLOURS, *names(PAIRS)) if spelled(word) in vocabulary]
        for kind, words in (("number", numbers), ("colour", colours), ("pattern", TEXTURES)):
            self._weights[[vocabulary[spelled(word)] for word in words]] = WEIGHTS[kind]

    def __call__(self, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted cross entropy of what is to be imitated, and the loss of the pointers."""
        images = images_of(examples)
        features = dict(zip(map(id, images), self._policy.image_features(images), strict=True))
        total = weight = pointing = torch.zeros(())
        pointers = 0
        for bucket in buckets(examples, lambda example: len(example.tokens), _RATIO):
            read = _EncodedExamples.of(self._policy, bucket, features)
            chosen = read.mask[:, 1:]
            wanted = read.ids[:, 1:][chosen]
            logits = self._policy.model.lm_head(read.hidden[:, :-1][chosen])
            weights = self._weights[wanted]
            total = total + (F.cross_entropy(logits, wanted, reduction="none") * weights).sum()
            weight = weight + weights.sum()
            number = sum(len(example.pointers) for example in bucket)
            if number:
                pointing = pointing + number * self._pointing(read, bucket)
                pointers += number
        return total / weight, pointing / max(1, pointers)

    def _pointing(self, read: _EncodedExamples, examples: Sequence[Example]) -> torch.Tensor:
        """Return minus the log of the attention that falls on what is named, in the first layer."""
        text = self._policy.model.model.language_model
        states = first_queries_and_keys(text, read.embedded, read.positions, self._policy.axes)
        query, key = (each.transpose(1, 2) for each in states)
        named = [(row, pointer) for row, example in enumerate(examples) for pointer in example.pointers]
        rows = torch.tensor([row for row, _ in named])
        places = torch.tensor([pointer.place for _, pointer in named])
        asked = query[rows, :POINTING_HEADS, places][:, :, None]
        scores = (asked @ key[rows, :POINTING_HEADS].transpose(-1, -2))[:, :, 0] * text.layers[0].self_attn.scaling
        later = torch.arange(scores.shape[-1]) > places[:, None]
        logs = torch.log_softmax(scores.masked_fill(later[:, None], _OUT_OF_SIGHT), -1)
        wanted = torch.zeros(logs.shape, dtype=torch.bool)
        for number, (_, pointer) in enumerate(named):
            wanted[number, 0, list(pointer.shown)] = True
            wanted[number, 1, list(pointer.marked)] = True
        return -torch.logsumexp(logs.masked_fill(~wanted, _OUT_OF_SIGHT), -1).mean()


@dataclass(frozen=True, slots=True)
class _EncodedExamples:
    """Examples after a forward pass: ids and mask ``(B, L)``, positions ``(3, B, L)``, states ``(B, L, hidden)``."""

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    embedded: torch.Tensor
    hidden: torch.Tensor

    @classmethod
    def of(
        cls, policy: VisionPolicy, examples: Sequence[Example], features: dict[int, torch.Tensor]
    ) -> _EncodedExamples:
        """Run the policy over examples; ``features`` are those of their images, by the id of the image."""
        length = max(len(example.tokens) for example in examples)
        shape = (len(examples), length)
        ids, mask, filled = np.zeros(shape, np.int64), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        positions = np.zeros((3, *shape), np.int64)
        for row, example in enumerate(examples):
            here = slice(0, len(example.tokens))
            ids[row, here], mask[row, here], filled[row, here] = example.tokens.ids, example.tokens.mask, True
            positions[:, row, here] = policy.positions(example.tokens)[0]
        tokens, where = torch.from_numpy(ids), torch.from_numpy(positions)
        shown = torch.cat([features[id(image)] for image in images_of(examples)])
        embedded = policy.model.model.language_model.embed_tokens(tokens)
        embedded = embedded.masked_scatter((tokens == policy.image_token)[..., None], shown[:, 0])
        attention = MaskedAttention(causal_mask(torch.from_numpy(filled)))
        hidden = policy.hidden(tokens, where, attention, [shown])
        return cls(tokens, torch.from_numpy(mask), where, embedded, hidden)


class PictureLoss(torch.nn.Module):
    """Vision pretraining: each image token predicts the colour, the pattern and the box of the object that it shows.

    Predictions go through the model's own word embeddings, so that image tokens and words share a representation. The
    other weights of this module are thrown away afterwards.

    Args:
        policy: The model.
    """

    def __init__(self, policy: VisionPolicy) -> None:
        super().__init__()
        self._task = TASKS[policy.model.config.model_type]
        vocabulary = policy.tokenizer.get_vocab()
        spelled = policy.tokenizer.backend_tokenizer.normalizer.normalize_str
        self._policy = policy
        self._words = [
            torch.tensor([vocabulary[spelled(word)] for word in words])
            for words in (COLOURS, TEXTURES, self._task.numbers)
        ]
        self._hidden = policy.model.config.text_config.hidden_size
        self._head = torch.nn.Linear(self._hidden, 1 + 4 * self._hidden)
        self._scale = torch.nn.Parameter(torch.tensor(5.0))

    def forward(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """Return the loss of some pictures."""
        states = torch.cat(self._policy.image_features([picture.image for picture in pictures]))[:, 0]
        embeddings = self._policy.model.model.language_model.embed_tokens.weight
        colours, patterns, numbers = (self._scale * embeddings[words].T for words in self._words)
        out = self._head(states)
        colour, pattern, box = _targets(pictures, self._task)
        there, marked = colour >= 0, pattern >= 0
        guesses = torch.cat([states @ colours, out[:, :1]], -1)
        of_colour = F.cross_entropy(guesses, torch.where(there, colour, len(COLOURS)))
        of_pattern = F.cross_entropy((states @ patterns)[marked], pattern[marked])
        places = out[:, 1:].unflatten(-1, (4, self._hidden))[there] @ numbers
        of_box = F.cross_entropy(places.flatten(0, 1), box[there].flatten())
        return of_colour + of_pattern + 0.5 * of_box

    def weights(self) -> list[torch.nn.Parameter]:
        """Return the trained parameters: the vision tower, the word embeddings, and this module."""
        model = self._policy.model.model
        own = [self._scale, *self._head.parameters()]
        return [*model.visual.parameters(), model.language_model.embed_tokens.weight, *own]


def _targets(pictures: Sequence[Picture], task: TinyTask) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return colour and pattern ``(cells,)``, -1 for none, and box ``(cells, 4)`` in steps, of all cells."""
    names = list(COLOURS)
    colours = [
        np.array([*(names.index(square.colour) for square in picture.squares), -1])[picture.cells.square]
        for picture in pictures
    ]
    patterns = np.concatenate([picture.cells.pattern for picture in pictures])
    boxes = np.concatenate([picture.cells.box for picture in pictures])
    return (
        torch.from_numpy(np.concatenate(colours)),
        torch.from_numpy(patterns),
        torch.from_numpy(boxes * (task.steps / task.side)).round().long(),
    )


def gradient_step(optimizer: Any, loss: torch.Tensor, lr: float) -> None:
    """Take an optimizer step with a learning rate."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
