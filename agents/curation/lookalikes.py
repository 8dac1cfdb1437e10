"""Images that are the same, or nearly: found by a perceptual hash of each.

The hash is ImageHash's ``phash``: the lowest frequencies of the image's cosine transform, against their median. That
library is the one that is kept and used most (pHash, dHash and wavelets in plain Python over Pillow and numpy; pdqhash
needs a compiler, imagededup a torch). 256 bits: of fifteen photographs, what was recompressed (quality 20), made grey
or scaled to a third differed in at most 32 of them, what was cropped by 2 % as well, and other images in 104 and more;
scenes of the built-in task differed in 88 and more. With 64 bits that gap is 4 to 12. The hash knows no colours, so a
thumbnail of 4 x 4 pixels has to agree too: a red car is no blue one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage

from deepeyes_env.extras import import_extra
from deepeyes_env.images.codec import Image
from deepeyes_env.images.ref import ImageRef

HASH_SIDE = 16
"""A hash has the square of it as bits."""

MOST_BITS = 32
"""How many bits of two hashes may differ for the images to be nearly the same."""

MOST_COLOUR = 12.0
"""How far two thumbnails may differ: mean over pixels and channels, of 255."""

_THUMB_SIDE = 4
_WORDS = HASH_SIDE * HASH_SIDE // 64
_REDUCED = 512


@dataclass(frozen=True, slots=True)
class Look:
    """What an image looks like, in 80 bytes.

    Attributes:
        bits: Its perceptual hash.
        thumb: Its thumbnail, RGB.
    """

    bits: bytes
    thumb: bytes

    @classmethod
    def of(cls, image: ImageRef) -> Look:
        """Decode an image and look at it.

        Raises:
            ImageError: It cannot be decoded.
            MissingExtraError: ImageHash is not installed.
        """
        return cls.of_pixels(image.pixels())

    @classmethod
    def of_pixels(cls, pixels: Image) -> Look:
        """Look at an image: ``(H, W, 3)`` ``uint8``."""
        imagehash = import_extra("imagehash", "curate")
        image = PILImage.fromarray(pixels)
        factor = min(image.size) // _REDUCED
        if factor > 1:  # the hash scales it down with a filter that takes its time
            image = image.reduce(factor)
        hashed = imagehash.phash(image, hash_size=HASH_SIDE)
        thumb = image.resize((_THUMB_SIDE, _THUMB_SIDE), PILImage.Resampling.BOX)
        return cls(np.packbits(hashed.hash).tobytes(), thumb.tobytes())

    @classmethod
    def read(cls, text: str) -> Look:
        """Read what ``str`` wrote.

        Raises:
            ValueError: It is something else.
        """
        data = bytes.fromhex(text)
        size = HASH_SIDE * HASH_SIDE // 8
        if len(data) != size + 3 * _THUMB_SIDE**2:
            raise ValueError("is no look of an image")
        return cls(data[:size], data[size:])

    def __str__(self) -> str:
        return (self.bits + self.thumb).hex()


class Lookalikes:
    """The images seen so far, each with the row that had it first; finds one that looks nearly the same."""

    def __init__(self) -> None:
        self._bits = np.zeros((1024, _WORDS), np.uint64)
        self._thumbs = np.zeros((1024, 3 * _THUMB_SIDE**2), np.uint8)
        self._rows: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, look: Look) -> int | None:
        """Return the row of the image that looks most like one, of those nearly the same; ``None`` if there is none."""
        count = len(self._rows)
        differing = np.bitwise_count(self._bits[:count] ^ np.frombuffer(look.bits, np.uint64)).sum(
            axis=1, dtype=np.int64
        )
        near = np.flatnonzero(differing <= MOST_BITS)
        if not len(near):
            return None
        apart = np.abs(self._thumbs[near].astype(np.int16) - np.frombuffer(look.thumb, np.uint8)).mean(axis=1)
        near = near[apart <= MOST_COLOUR]
        return self._rows[near[np.argmin(differing[near])]] if len(near) else None

    def add(self, row: int, look: Look) -> None:
        """Remember an image."""
        count = len(self._rows)
        if count == len(self._bits):
            self._bits = np.concatenate([self._bits, np.zeros_like(self._bits)])
            self._thumbs = np.concatenate([self._thumbs, np.zeros_like(self._thumbs)])
        self._bits[count] = np.frombuffer(look.bits, np.uint64)
        self._thumbs[count] = np.frombuffer(look.thumb, np.uint8)
        self._rows.append(row)
