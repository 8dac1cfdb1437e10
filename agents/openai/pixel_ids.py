"""Names of pixels: equal images get equal names, without a hash over all of them."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict, deque
from typing import TypeAlias

import numpy as np

from deepeyes_env.images.codec import Image

_Sample: TypeAlias = tuple[tuple[int, ...], bytes]

_SAMPLED = 24
"""Pixels in a row, and rows, by which images are told apart before they are compared in full."""

_REMEMBERED = 2**14


class Names:
    """Numbers images so that two have the same number if and only if their pixels are equal; thread-safe.

    A hash of a megapixel costs a third of its JPEG, and hardly any crop is ever seen a second time. So images are told
    apart by a few of their pixels, and only those that agree there are compared. An image that nobody holds any more is
    forgotten: should it come again, it gets a new number.

    Attributes:
        forgotten: Numbers that will not be given again. Whoever keeps something by number may take them out.
    """

    def __init__(self) -> None:
        self.forgotten: deque[int] = deque()
        self._numbers = itertools.count()
        self._alike: OrderedDict[_Sample, list[tuple[weakref.ref[Image], int]]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, pixels: Image) -> int:
        """Return the number of an image.

        Args:
            pixels: ``(H, W, 3)`` ``uint8``; not changed as long as it lives.
        """
        sample = _sample(pixels)
        with self._lock:
            living = ((ref, number, ref()) for ref, number in self._alike.get(sample, ()))
            alike = [(ref, number, earlier) for ref, number, earlier in living if earlier is not None]
            for _, number, earlier in alike:
                if _equal(earlier, pixels):
                    return number
            new = self._numbered(pixels)
            self._alike[sample] = [*((ref, number) for ref, number, _ in alike), new]
            self._alike.move_to_end(sample)
            if len(self._alike) > _REMEMBERED:
                self._alike.popitem(last=False)
            return new[1]

    def _numbered(self, pixels: Image) -> tuple[weakref.ref[Image], int]:
        number, forgotten = next(self._numbers), self.forgotten
        # Called wherever the last holder lets go, perhaps inside a lock of ours: so it takes none.
        return weakref.ref(pixels, lambda _: forgotten.append(number)), number


def _sample(pixels: Image) -> _Sample:
    rows, columns = (max(1, side // _SAMPLED) for side in pixels.shape[:2])
    return pixels.shape, pixels[rows // 2 :: rows, columns // 2 :: columns].tobytes()


def _equal(a: Image, b: Image) -> bool:
    same_memory = a.__array_interface__["data"] == b.__array_interface__["data"] and a.strides == b.strides
    return a is b or same_memory or np.array_equal(a, b)
