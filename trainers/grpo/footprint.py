"""Footprint: the bytes that a training step holds, by stage and by what for, as arithmetic on the shape of a model.

What is counted is what the code of generator and learner keeps: rows of the KV cache, the states that layers save for
the backward pass, logits of a chunk. ``c`` stands for the bytes of what is computed in; sums along layers are
``float32``. Tests compare it with the tensors of real steps on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from deepeyes_env.agents.transformers.architecture import architecture_of
from deepeyes_env.agents.transformers.kv import ROOM
from deepeyes_env.trainers.grpo.scores import chunk_tokens

WEIGHTS, GRADIENTS, OPTIMIZER, REFERENCE = "weights", "gradients", "optimizer", "reference policy"
COPY, CACHE, LOGITS, ATTENTION = "copy for generation", "KV cache", "logits", "attention"
ACTIVATIONS, IMAGES = "activations", "images"

PREFILL, TOKENS = "rollouts: prefill", "rollouts: tokens"
UPDATE, STEP = "policy update: forward and backward", "policy update: optimizer"

Parts = dict[str, int]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model; ``vision_`` those of its vision tower.

    Attributes:
        layer: Weights of a layer of the language model.
        vision: Weights of the vision tower.
        levels: Features of an image token: the one in the text, and those that are added after the first layers.
    """

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head: int
    intermediate: int
    vocabulary: int
    tied: bool
    vision_hidden: int
    vision_layers: int
    vision_intermediate: int
    vision_heads: int
    patch_values: int
    merged: int
    layer: int
    vision: int
    levels: int = 1

    @classmethod
    def of(cls, config: Any) -> ModelShape:
        """Return the shape that transformers' configuration of a model describes."""
        text, vision = config.text_config, config.vision_config
        with torch.device("meta"):
            model = architecture_of(config.model_type).model_class(config)
        # In Qwen2-VL's configuration ``hidden_size`` is the language model's.
        width = getattr(vision, "embed_dim", vision.hidden_size)
        return cls(
            hidden=text.hidden_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            key_heads=text.num_key_value_heads,
            head=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            intermediate=text.intermediate_size,
            vocabulary=text.vocab_size,
            tied=bool(config.tie_word_embeddings),
            vision_hidden=width,
            vision_layers=vision.depth,
            vision_intermediate=getattr(vision, "intermediate_size", None) or int(width * vision.mlp_ratio),
            vision_heads=vision.num_heads,
            patch_values=3 * vision.patch_size**2,
            merged=vision.spatial_merge_size**2,
            layer=_numbers(model.model.language_model.layers[0]),
            vision=_numbers(model.model.visual),
            levels=1 + len(getattr(vision, "deepstack_visual_indexes", ())),
        )

    @property
    def queries(self) -> int:
        """Numbers in the queries of a token."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """Numbers in the keys of a token, and in its values."""
        return self.key_heads * self.head

    @property
    def embeddings(self) -> int:
        """Weights of the embeddings, and of the head where it has its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def weights(self) -> int:
        """All weights."""
        return self.embeddings + self.layers * self.layer + self.hidden + self.vision

    def adapters(self, rank: int) -> int:
        """Return the weights of LoRA adapters on all matrices of the language model's layers."""
        h, q, k, m = self.hidden, self.queries, self.keys, self.intermediate
        return self.layers * rank * ((h + q) + 2 * (h + k) + (q + h) + 2 * (h + m) + (m + h))


@dataclass(frozen=True, slots=True)
class Load:
    """What a step goes through, in tokens and patches of images (four patches an image token).

    Attributes:
        groups: Prompts of a step.
        group_size: Episodes of each.
        prompt: Tokens of a prompt, images included.
        completion: Tokens of an episode after its prompt.
        message: Most tokens of one message of the policy.
        policy_tokens: Tokens among the completion's that the policy writes.
        prompt_patches: Patches in a prompt.
        completion_patches: Patches in an episode after its prompt.
        observation: Most tokens of one observation; the same with patches.
        observation_patches: Most patches of one observation.
        packs: Prompts in one micro-batch.
        pack_size: Episodes behind each of them.
        microbatches: Micro-batches of an optimizer step.
    """

    groups: int
    group_size: int
    prompt: int
    completion: int
    message: int
    policy_tokens: int
    prompt_patches: int
    completion_patches: int
    observation: int
    observation_patches: int
    packs: int
    pack_size: int
    microbatches: int

    @property
    def episodes(self) -> int:
        """Episodes of a step."""
        return self.groups * self.group_size


@dataclass(frozen=True, slots=True)
class Precision:
    """How a run holds and computes.

    Attributes:
        half: Computed in ``bfloat16``, else in ``float32``.
        checkpointing: Activations are recomputed.
        lora_rank: Rank of adapters; 0: all weights are trained.
        frozen_vision: The vision tower is not trained.
        reference: There is a reference policy.
    """

    half: bool = False
    checkpointing: bool = False
    lora_rank: int = 0
    frozen_vision: bool = False
    reference: bool = False

    @property
    def size(self) -> int:
        """Bytes of a number that is computed with."""
        return 2 if self.half else 4


def footprint(shape: ModelShape, load: Load, precision: Precision) -> Mapping[str, Parts]:
    """Return the bytes of each stage of a step by what they are for."""
    always = _always(shape, precision)
    trained = trainable(shape, precision)
    return {
        PREFILL: always | _prefill(shape, load, precision),
        TOKENS: always | _tokens(shape, load, precision),
        UPDATE: always | _update(shape, load, precision),
        STEP: always | {GRADIENTS: 4 * trained},
    }


def trainable(shape: ModelShape, precision: Precision) -> int:
    """Return how many weights are trained."""
    if precision.lora_rank:
        return shape.adapters(precision.lora_rank)
    return shape.weights - (shape.vision if precision.frozen_vision else 0)


def _always(shape: ModelShape, precision: Precision) -> Parts:
    """What is held from the first step to the last."""
    trained = trainable(shape, precision)
    frozen_size = 2 if precision.lora_rank and precision.half else 4
    weights = shape.weights * frozen_size + (4 * trained if precision.lora_rank else 0)
    copied = 2 * shape.weights if precision.half and not precision.lora_rank else 0
    return {
        WEIGHTS: weights,
        OPTIMIZER: 8 * trained,
        COPY: copied,
        REFERENCE: precision.size * shape.weights if precision.reference else 0,
    }


# --- rollouts ----------------------------------------------------------------------------------------------------


def _cache(shape: ModelShape, rows: int, columns: int, size: int) -> int:
    return rows * columns * 2 * shape.keys * shape.layers * size


def _prefill(shape: ModelShape, load: Load, precision: Precision) -> Parts:
    """The largest moment of two prefills: of all prompts, and of the last observations of all episodes."""
    moments = _prefilled(shape, load.groups, load.prompt, 0, load.groups * load.prompt_patches, precision)
    if load.observation:
        past = load.prompt + load.completion - load.message - load.observation
        patches = load.episodes * load.observation_patches
        moments += _prefilled(shape, load.episodes, load.observation, past, patches, precision)
    return largest(moments)


def _prefilled(shape: ModelShape, rows: int, new: int, past: int, patches: int, precision: Precision) -> list[Parts]:
    """Moments of a prefill: a block of the vision tower, attention in a layer, the MLP of a layer."""
    c, tokens, columns = precision.size, rows * new, past + new
    grouped = shape.heads != shape.key_heads
    before = _cache(shape, rows, past, c)  # the rows as they were, until the new ones are complete
    # Where there was a cache, the new one is there in all layers from the start.
    cache = before + _cache(shape, rows, columns, c)
    features = (
        shape.levels * 4 * patches * shape.hidden // shape.merged + (shape.levels - 1) * 4 * tokens * shape.hidden
    )
    mask = tokens * columns
    states = tokens * shape.hidden * (4 + c)
    scores = mask * (1 + c) + (2 * rows * columns * shape.queries * c if grouped else 0)
    within = states + tokens * (3 * shape.queries + 2 * shape.keys) * c
    block = patches * (4 * shape.patch_values + shape.vision_hidden * (20 + 10 * c))
    mlp = states + tokens * (4 * shape.hidden + 3 * shape.intermediate * c)
    return [
        {CACHE: before, IMAGES: block},
        {CACHE: cache, ATTENTION: scores, ACTIVATIONS: within, IMAGES: features},
        {CACHE: cache, ATTENTION: mask, ACTIVATIONS: mlp, IMAGES: features},
    ]


def _tokens(shape: ModelShape, load: Load, precision: Precision) -> Parts:
    """One token a row: rows of the KV cache are put together anew before the first of a message; the last is drawn."""
    columns = load.prompt + load.completion
    before, room = columns - load.message, min(ROOM, load.message)
    last = columns + (ROOM if load.message > ROOM else 0)
    logits = 4 * load.episodes * shape.vocabulary
    return largest(
        [
            {CACHE: _cache(shape, load.episodes, 2 * before + room, precision.size), LOGITS: 2 * logits},
            {CACHE: _cache(shape, load.episodes, last, precision.size), LOGITS: 5 * logits},
        ]
    )


# --- policy update -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A micro-batch: tokens in all, outputs; keys of all completions; scores in the masks of both."""

    tokens: int
    outputs: int
    keys: int
    scores: int
    output_scores: int

    @classmethod
    def of(cls, load: Load) -> _Row:
        """Return the row that a micro-batch is laid out in."""
        episodes, columns = load.packs * load.pack_size, load.prompt + load.completion
        return cls(
            load.packs * load.prompt + episodes * load.completion,
            episodes * load.policy_tokens,
            episodes * columns,
            episodes * load.completion * columns,
            episodes * load.policy_tokens * columns,
        )


def _attention_saved(shape: ModelShape, row: _Row, outputs: int, scores: int, c: int) -> int:
    """Return what attention in one layer saves: keys, values and their copies, queries, mask, its output twice."""
    width = shape.queries if shape.heads != shape.key_heads else shape.keys
    own = row.tokens * 2 * shape.keys * c + outputs * (3 * shape.queries * c + 4 * shape.heads)
    return own + 2 * row.keys * width * c + scores * c


def _mlp_saved(shape: ModelShape, outputs: int, c: int) -> int:
    """Return what the MLP of one layer saves: the sum before it, a norm in two steps, four tables."""
    return outputs * (shape.hidden * (8 + c) + 4 * shape.intermediate * c)


def _update(shape: ModelShape, load: Load, precision: Precision) -> Parts:
    """The largest moment of a micro-batch."""
    c, row = precision.size, _Row.of(load)
    table = 4 * row.tokens * shape.hidden
    norm = row.tokens * shape.hidden * (8 + c)
    attention = _attention_saved(shape, row, row.tokens, row.scores, c)
    last = _attention_saved(shape, row, row.outputs, row.output_scores, c)
    mlp, last_mlp = _mlp_saved(shape, row.tokens, c), _mlp_saved(shape, row.outputs, c)
    rotations, masks = 8 * row.tokens * shape.head, row.scores + row.output_scores
    outputs = 4 * 3 * row.outputs * shape.hidden
    # Backwards through a layer: its MLP, or its attention, when what the MLP saved is gone.
    through_mlp = table + 2 * row.tokens * shape.intermediate * c
    width = shape.queries if shape.heads != shape.key_heads else shape.keys
    through_attention = table + 2 * row.tokens * shape.queries * c + 2 * row.keys * width * c - mlp
    back = max(through_mlp, through_attention)
    logits = 16 * min(row.outputs, chunk_tokens(shape.vocabulary)) * shape.vocabulary
    if precision.checkpointing:
        kept = {ATTENTION: masks, ACTIVATIONS: rotations + outputs + shape.layers * table}
        layer = {ATTENTION: attention, ACTIVATIONS: norm + mlp + back - table}
    else:
        kept = {
            ATTENTION: masks + (shape.layers - 1) * attention + last,
            ACTIVATIONS: rotations + outputs + (shape.layers - 1) * (norm + mlp) + norm + last_mlp,
        }
        layer = {ACTIVATIONS: back}
    first = {ATTENTION: masks + attention, ACTIVATIONS: rotations + norm + mlp + back}
    images, block = _images_saved(shape, load, precision)
    images += (shape.levels - 1) * table  # deep features, each where its token stands
    gradients = 4 * trainable(shape, precision)
    several = gradients if load.microbatches > 1 else 0
    head = 0 if precision.lora_rank else 4 * shape.vocabulary * shape.hidden
    in_layers = gradients - 4 * (0 if precision.lora_rank or precision.frozen_vision else shape.vision)
    casts = 2 * shape.weights if precision.half and not precision.lora_rank else 0
    moments = [
        added(kept, {ACTIVATIONS: casts, LOGITS: logits, GRADIENTS: several + head, IMAGES: images}),
        added(kept, layer, {GRADIENTS: max(several, head), IMAGES: images}),
        added(first, {GRADIENTS: max(several, in_layers), IMAGES: images}),
        {GRADIENTS: gradients, ACTIVATIONS: table, IMAGES: images + block},
    ]
    return largest(moments)


def _images_saved(shape: ModelShape, load: Load, precision: Precision) -> tuple[int, int]:
    """Return what the vision tower saves for its backward pass, and what is added on the way back through a block."""
    patches = load.packs * (load.prompt_patches + load.pack_size * load.completion_patches)
    c, h = precision.size, shape.vision_hidden
    features = shape.levels * 2 * 4 * patches * shape.hidden // shape.merged
    if precision.frozen_vision or precision.lora_rank:
        return features, patches * (4 * shape.patch_values + h * (20 + 10 * c))
    ends = patches * (4 * shape.patch_values + 4 * h * (3 + 2 / shape.vision_heads) + 2 * c * h)
    block = patches * (16 * h + 2 * c * h + 5 * c * h + 4 * c * shape.vision_intermediate)
    if precision.checkpointing:
        return int(ends) + features + 4 * patches * h * shape.vision_layers, block - 4 * patches * h
    return int(ends) + features + shape.vision_layers * block, 0


def _numbers(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


# --- sums --------------------------------------------------------------------------------------------------------


def added(*several: Parts) -> Parts:
    """Return the sum of each part."""
    return {name: sum(parts.get(name, 0) for parts in several) for parts in several for name in parts}


def largest(moments: Sequence[Parts]) -> Parts:
    """Return the moment in which most is held."""
    return max(moments, key=lambda parts: sum(parts.values()))
