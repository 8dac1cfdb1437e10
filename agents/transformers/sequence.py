"""TokenSequence: a whole episode as token ids, with its completion mask and images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.images.ref import ImageRef

T = TypeVar("T")

BUCKET_RATIO = 1.35
"""Sequences are padded together only if the longest is at most this many times as long as the shortest."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Tokens, who wrote them, and the images among them.

    Attributes:
        ids: Token ids ``(L,)`` ``int64``, as many image tokens as each image takes.
        mask: ``(L,)`` ``bool``, the completion mask: the tokens to train on, all of them written by the policy. Never a
            token of a prompt or an observation.
        logprobs: ``(L,)`` ``float32``: log-probabilities at sampling time; 0 outside the mask.
        images: The images in the order of their tokens.
    """

    ids: NDArray[np.int64]
    mask: NDArray[np.bool_]
    logprobs: NDArray[np.float32]
    images: tuple[ImageRef, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def context(cls, ids: NDArray[np.int64], images: Sequence[ImageRef] = ()) -> TokenSequence:
        """Return tokens that the policy did not write."""
        return cls(ids, np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.float32), tuple(images))

    @classmethod
    def concatenated(cls, parts: Sequence[TokenSequence]) -> TokenSequence:
        """Return one sequence after another."""
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.mask for part in parts]),
            np.concatenate([part.logprobs for part in parts]),
            tuple(image for part in parts for image in part.images),
        )


def buckets(items: Iterable[T], length: Callable[[T], int], ratio: float = BUCKET_RATIO) -> list[list[T]]:
    """Divide what is to be padded together by like length, shortest first; equal lengths keep their order.

    Args:
        items: What is to be divided.
        length: Returns the length of one.
        ratio: How many times as long as the shortest of its bucket one may be.
    """
    divided: list[list[T]] = []
    for item in sorted(items, key=length):
        if divided and length(item) <= ratio * length(divided[-1][0]):
            divided[-1].append(item)
        else:
            divided.append([item])
    return divided
