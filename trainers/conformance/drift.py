"""Drift: where two encodings of a conversation part, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias

Cause: TypeAlias = Literal["template", "retokenization", "image count", "truncated image", "truncation", "mask"]
"""Why two encodings differ.

``template``: the chat template wrote another text. ``retokenization``: the same text, divided into other tokens.
``image count``: an image stands for another number of tokens. ``truncated image``: the encoding was cut, and an image
lost tokens. ``truncation``: it was cut, and lost only text. ``mask``: the same tokens, others of them trained on.
"""

_WINDOW = 48
"""Tokens that are read as text from the first differing one on."""

_QUOTED = 40
"""Characters of it that are told."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as token ids.

    Attributes:
        ids: The ids, as many image tokens as each image takes.
        mask: Which of them are trained on; empty if this encoding does not say.
    """

    ids: tuple[int, ...]
    mask: tuple[bool, ...] = ()

    def startswith(self, other: Encoded) -> bool:
        """Whether its tokens begin with another's."""
        return self.ids[: len(other.ids)] == other.ids

    def upto(self, length: int) -> Encoded:
        """Return its first tokens."""
        return Encoded(self.ids[:length], self.mask[:length])


@dataclass(frozen=True, slots=True)
class Drift:
    """Where two encodings part.

    Attributes:
        cause: Why.
        position: Index of the first differing token.
        detail: What stands there in either.
    """

    cause: Cause
    position: int
    detail: str


def first_drift(ours: Encoded, theirs: Encoded, tokenizer: Any, image_token: int) -> Drift | None:
    """Return where another encoding of the same conversation leaves ours; ``None`` if it does not.

    Args:
        ours: What is trained on.
        theirs: The other one.
        tokenizer: The model's.
        image_token: Id of the token that stands for (a part of) an image.
    """
    first = _first_difference(ours.ids, theirs.ids)
    if first is None:
        return _mask_drift(ours, theirs, tokenizer)
    lost = _lost(ours.ids, theirs.ids)
    if lost is not None:
        return _cut(ours.ids, lost, image_token)
    if image_token in (ours.ids[first : first + 1] + theirs.ids[first : first + 1]):
        counts = [_run(side.ids, first, image_token) for side in (ours, theirs)]
        if all(counts):
            number = _image_number(ours.ids, first, image_token)
            return Drift("image count", first, f"image {number} is {counts[0]} tokens to us, {counts[1]} to them")
    windows = [tokenizer.decode(list(side.ids[first : first + _WINDOW])) for side in (ours, theirs)]
    detail = f"{windows[0][:_QUOTED]!r} to us, {windows[1][:_QUOTED]!r} to them"
    return Drift("retokenization" if _same_text(ours, theirs, first, windows, tokenizer) else "template", first, detail)


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    shared = min(len(ours), len(theirs))
    differing = (place for place in range(shared) if ours[place] != theirs[place])
    return next(differing, None if len(ours) == len(theirs) else shared)


def _mask_drift(ours: Encoded, theirs: Encoded, tokenizer: Any) -> Drift | None:
    if not ours.mask or not theirs.mask or ours.mask == theirs.mask:
        return None
    first = next(place for place in range(len(ours.ids)) if ours.mask[place] != theirs.mask[place])
    said = "trained on here, not there" if ours.mask[first] else "trained on there, not here"
    return Drift("mask", first, f"{tokenizer.decode([ours.ids[first]])!r} is {said}")


def _lost(ours: tuple[int, ...], theirs: tuple[int, ...]) -> range | None:
    """Return which of our tokens a cut at either end has taken; ``None`` if theirs is no part of ours."""
    kept = len(theirs)
    if not kept or kept >= len(ours):
        return None
    if ours[:kept] == theirs:
        return range(kept, len(ours))
    return range(len(ours) - kept) if ours[-kept:] == theirs else None


def _cut(ours: tuple[int, ...], lost: range, image_token: int) -> Drift:
    place = next((place for place in lost if ours[place] == image_token), None)
    where = f"tokens {lost.start} to {lost.stop - 1} of {len(ours)} are cut off"
    if place is None:
        return Drift("truncation", lost.start, where)
    number = _image_number(ours, place, image_token)
    start, length = _bounds(ours, place, image_token)
    left = sum(index not in lost for index in range(start, start + length))
    return Drift("truncated image", lost.start, f"{where}: of image {number} {left} of {length} tokens are left")


def _bounds(ids: tuple[int, ...], place: int, image_token: int) -> tuple[int, int]:
    """Return where the image at a place begins, and its number of tokens."""
    start = place
    while start > 0 and ids[start - 1] == image_token:
        start -= 1
    stop = start
    while stop < len(ids) and ids[stop] == image_token:
        stop += 1
    return start, stop - start


def _run(ids: tuple[int, ...], first: int, image_token: int) -> int:
    """Return the number of tokens of the image at a place, or ending just before it; 0 without one."""
    beside = (place for place in (first, first - 1) if 0 <= place < len(ids) and ids[place] == image_token)
    place = next(beside, None)
    return 0 if place is None else _bounds(ids, place, image_token)[1]


def _image_number(ids: tuple[int, ...], place: int, image_token: int) -> int:
    """Return the number, from 1, of the image at a place or before it."""
    shown = (0, *ids[: place + 1])
    return sum(after == image_token and before != image_token for before, after in pairwise(shown))


def _same_text(ours: Encoded, theirs: Encoded, first: int, windows: Sequence[str], tokenizer: Any) -> bool:
    """Whether the two say the same as far as the first differing token of either reaches."""
    tokens = [tokenizer.decode(list(side.ids[first : first + 1])) for side in (ours, theirs)]
    reach = max(map(len, tokens))
    return all(tokens) and windows[0][:reach] == windows[1][:reach]
