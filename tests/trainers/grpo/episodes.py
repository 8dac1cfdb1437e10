"""Episodes as token sequences: random words and pictures, several episodes behind each prompt."""

from __future__ import annotations

import numpy as np

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
