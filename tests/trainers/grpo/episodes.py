"""Episodes as token sequences: random words and pictures, several episodes behind each prompt."""

from __future__ import annotations

import numpy as np
import torch

from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import causal_mask
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.images.ref import ImageRef


def picture(seed):
    return ImageRef.of(np.random.default_rng(seed).integers(0, 256, (56, 84, 3), np.uint8))


def context(policy, rng, words, image=None):
    """Tokens that the policy did not write, with an image of 3 x 2 tokens among them."""
    ids = rng.integers(10, 60, words)
    shown = [] if image is None else [policy.image_token] * 6
    return TokenSequence.context(np.array([*ids[: words // 2], *shown, *ids[words // 2 :]]), [image] if image else [])


def sampled(rng, words):
    return TokenSequence(rng.integers(10, 60, words), np.ones(words, bool), -np.ones(words, np.float32))


def group(policy, seed, turns):
    """Episodes with one prompt; ``turns`` gives the number of messages of each."""
    rng = np.random.default_rng(seed)
    prompt = context(policy, rng, 8, picture(seed))
    episodes = []
    for number, messages in enumerate(turns):
        parts = [prompt, sampled(rng, 3 + number % 3)]
        for turn in range(1, messages):
            parts += [context(policy, rng, 4, picture(100 * seed + 10 * number + turn)), sampled(rng, 2 + number % 4)]
        episodes.append(TokenSequence.concatenated(parts))
    return episodes


def states_alone(policy, tokens):
    """The states that the policy's tokens of an episode are sampled from, by a forward pass over it alone."""
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    attention = MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool)))
    hidden = policy.hidden(ids, positions, attention, policy.image_features(tokens.images))
    return hidden[0, :-1][torch.from_numpy(tokens.mask[1:])]
