"""Packs: episodes that share a prompt, which is held once.

Most tokens of a group of episodes are the prompt that all of them begin with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.images.ref import ImageRef


@dataclass(frozen=True, slots=True)
class Pack:
    """Some episodes with one prompt.

    Attributes:
        rows: Their numbers in the batch.
        prompt: What all of them begin with: everything before the first token of the policy.
        completions: What follows it in each: messages of the policy and observations.
    """

    rows: tuple[int, ...]
    prompt: TokenSequence
    completions: tuple[TokenSequence, ...]

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.completions))

    @property
    def images(self) -> list[ImageRef]:
        """The images that are shown."""
        return [image for tokens in (self.prompt, *self.completions) for image in tokens.images]


def pack(policy: VisionPolicy, episodes: Mapping[int, TokenSequence], longest: int) -> list[Pack]:
    """Put episodes with equal prompts together.

    Args:
        policy: Whose tokens they are made of.
        episodes: Token sequences by their numbers in the batch.
        longest: Most tokens in a pack that holds more than one episode.
    """
    prompts: dict[object, TokenSequence] = {}
    members: dict[object, list[tuple[int, TokenSequence]]] = {}
    for row, tokens in episodes.items():
        sampled = np.flatnonzero(tokens.mask)
        prompt, completion = policy.cut(tokens, int(sampled[0]) if len(sampled) else len(tokens))
        key = (prompt.ids.tobytes(), *map(id, prompt.images))
        prompts.setdefault(key, prompt)
        members.setdefault(key, []).append((row, completion))
    return [made for key, of_prompt in members.items() for made in _filled(prompts[key], of_prompt, longest)]


def _filled(prompt: TokenSequence, members: Sequence[tuple[int, TokenSequence]], longest: int) -> Iterator[Pack]:
    held: list[tuple[int, TokenSequence]] = []
    length = len(prompt)
    for row, completion in members:
        if held and length + len(completion) > longest:
            yield Pack(tuple(row for row, _ in held), prompt, tuple(completion for _, completion in held))
            held, length = [], len(prompt)
        held.append((row, completion))
        length += len(completion)
    yield Pack(tuple(row for row, _ in held), prompt, tuple(completion for _, completion in held))


def microbatches(packs: Sequence[Pack], most_tokens: int) -> Iterator[list[Pack]]:
    """Divide packs, in their order, into pieces of at most so many tokens (at least one pack each)."""
    piece: list[Pack] = []
    held = 0
    for each in packs:
        if piece and held + len(each) > most_tokens:
            yield piece
            piece, held = [], 0
        piece.append(each)
        held += len(each)
    if piece:
        yield piece
