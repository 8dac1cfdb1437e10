"""Packs: episodes that begin with the same prompt, read as one sequence in which the prompt stands once.

Most of what a group of episodes says is the prompt that all of them begin with. A pack holds it once, and behind it
what follows in each episode, which sees the prompt and itself but none of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from agents.transformers.kv import own_attention
from agents.transformers.policy import VisionPolicy
from agents.transformers.sequence import TokenSequence
from deepeyes_env.images.ref import ImageRef

_NOBODY, _PROMPT = -1, 0


@dataclass(frozen=True, slots=True)
class Pack:
    """Some episodes with one prompt.

    Attributes:
        rows: Their numbers in the batch.
        prompt: What all of them begin with: everything before the first token of the policy.
        rests: What follows it in each.
    """

    rows: tuple[int, ...]
    prompt: TokenSequence
    rests: tuple[TokenSequence, ...]

    def __len__(self) -> int:
        return len(self.prompt) + sum(map(len, self.rests))

    @property
    def images(self) -> list[ImageRef]:
        """The images in the order of their tokens."""
        return [image for tokens in (self.prompt, *self.rests) for image in tokens.images]


@dataclass(frozen=True, slots=True)
class Layout:
    """Packs as ``int64`` tensors, ``L`` columns wide. Places are indices into the flattened ``(packs, L)``.

    Attributes:
        ids: ``(packs, L)`` token ids.
        positions: ``(3, packs, L)`` rotary positions: those that each episode would have alone.
        owners: ``(packs, L)``: 0 for the prompt, 1, 2, ... for the episodes of a pack, -1 for padding.
        drawn: Places of the policy's tokens, episode by episode.
        before: Places of the tokens that those follow, from whose states they were drawn.
        counts: How many tokens the policy has in each episode.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    owners: torch.Tensor
    drawn: torch.Tensor
    before: torch.Tensor
    counts: torch.Tensor


def pack(policy: VisionPolicy, episodes: Mapping[int, TokenSequence], longest: int) -> list[Pack]:
    """Put episodes with equal prompts together.

    Args:
        policy: Whose tokens they are made of.
        episodes: Token sequences by their numbers in the batch.
        longest: Most tokens in a pack that holds more than one episode: attention is quadratic in it.
    """
    prompts: dict[object, TokenSequence] = {}
    members: dict[object, list[tuple[int, TokenSequence]]] = {}
    for row, tokens in episodes.items():
        written = np.flatnonzero(tokens.mask)
        prompt, rest = policy.cut(tokens, int(written[0]) if len(written) else len(tokens))
        key = (prompt.ids.tobytes(), *map(id, prompt.images))
        prompts.setdefault(key, prompt)
        members.setdefault(key, []).append((row, rest))
    return [made for key, of_prompt in members.items() for made in _filled(prompts[key], of_prompt, longest)]


def _filled(prompt: TokenSequence, members: Sequence[tuple[int, TokenSequence]], longest: int) -> Iterator[Pack]:
    held: list[tuple[int, TokenSequence]] = []
    length = len(prompt)
    for row, rest in members:
        if held and length + len(rest) > longest:
            yield Pack(tuple(row for row, _ in held), prompt, tuple(rest for _, rest in held))
            held, length = [], len(prompt)
        held.append((row, rest))
        length += len(rest)
    yield Pack(tuple(row for row, _ in held), prompt, tuple(rest for _, rest in held))


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


def lay_out(policy: VisionPolicy, packs: Sequence[Pack]) -> Layout:
    """Lay packs out, each from the left."""
    shape = (len(packs), max(map(len, packs)))
    ids, owners = np.zeros(shape, np.int64), np.full(shape, _NOBODY)
    positions = np.zeros((3, *shape), np.int64)
    drawn, before, counts = [], [], []
    for number, each in enumerate(packs):
        flat, column, start = number * shape[1], 0, 0
        for owner, tokens in enumerate((each.prompt, *each.rests)):
            columns = slice(column, column + len(tokens))
            ids[number, columns], owners[number, columns] = tokens.ids, owner
            positions[:, number, columns], after = policy.positions(tokens, start)
            if owner == _PROMPT:
                start = after
            else:
                written = np.flatnonzero(tokens.mask)
                drawn.append(flat + column + written)
                # The first token follows the prompt, whoever stands between.
                before.append(flat + np.where(written > 0, column + written, len(each.prompt)) - 1)
                counts.append(len(written))
            column += len(tokens)
    arrays = (ids, positions, owners, np.concatenate(drawn), np.concatenate(before), np.array(counts))
    return Layout(*(torch.from_numpy(array).to(policy.device) for array in arrays))


def attention(owners: torch.Tensor) -> torch.Tensor:
    """Return who may look at whom, ``(packs, 1, L, L)`` ``bool``, given who owns which token.

    A token sees the prompt and its own episode as far as itself. Nobody sees padding but itself, for an attention over
    nothing is not a number.
    """
    looking, seen = owners[:, :, None], owners[:, None, :]
    return own_attention(owners != _NOBODY) & ((seen == looking) | (seen == _PROMPT))[:, None]
