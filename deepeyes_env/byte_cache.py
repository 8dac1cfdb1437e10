"""ByteCache: keeps what was used last, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from deepeyes_env.errors import UsageError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Keeps values until all together exceed a budget, and then drops the least recently used; not thread-safe.

    Attributes:
        nbytes: Bytes of the values that are kept now.

    Args:
        max_bytes: How many bytes are kept. A single value above it is not kept, and nothing is dropped for it.
        size: Returns the bytes of a value.

    Raises:
        UsageError: ``max_bytes`` is negative.
    """

    def __init__(self, max_bytes: int, size: Callable[[V], int]) -> None:
        if max_bytes < 0:
            raise UsageError(f"max_bytes={max_bytes}: must not be negative")
        self.nbytes = 0
        self._max_bytes = max_bytes
        self._size = size
        self._kept: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K, /) -> V | None:
        """Return what is kept under a key, which now is the most recently used; ``None`` if nothing is."""
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def __setitem__(self, key: K, value: V, /) -> None:
        nbytes = self._size(value)
        if nbytes > self._max_bytes:
            return
        self.drop(key)
        self._kept[key] = value
        self.nbytes += nbytes
        while self.nbytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.nbytes -= self._size(dropped)

    def sizes(self) -> Iterator[tuple[K, int]]:
        """Go through the keys with the bytes of their values, the least recently used first."""
        return ((key, self._size(value)) for key, value in self._kept.items())

    def drop(self, key: K) -> None:
        """Drop what is kept under a key, if anything is."""
        value = self._kept.pop(key, None)
        if value is not None:
            self.nbytes -= self._size(value)
