"""PixelCache: which pixels a store keeps, and which it drops first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable
from typing import NamedTuple

from deepeyes_env.byte_cache import ByteCache
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ops import FitMode


class PixelKey(NamedTuple):
    """What pixels are known by.

    Attributes:
        digest: Digest of the image.
        of_recipe: Whether it is drawn from a recipe.
        size: Size of the view; ``None`` for the image itself.
        mode: How the view is resized.
    """

    digest: str
    of_recipe: bool
    size: Size | None = None
    mode: FitMode | None = None


class PixelCache:
    """Keeps pixels up to a budget, and those drawn from recipes only while they are in play, beyond a smaller one.

    Scenes that are drawn at random hardly ever come back once the episodes about them are over.

    ``get`` and ``[]`` are for one thread at a time, ``play`` is for any.

    Args:
        max_bytes: How many bytes are kept, the least recently used dropped first.
        max_idle_recipe_bytes: How many of them may come from recipes that nobody plays with.

    Raises:
        UsageError: ``max_bytes`` is negative.
    """

    def __init__(self, max_bytes: int, max_idle_recipe_bytes: int) -> None:
        self._kept: ByteCache[PixelKey, Image] = ByteCache(max_bytes, lambda pixels: pixels.nbytes)
        self._max_idle = max_idle_recipe_bytes
        self._players: weakref.WeakKeyDictionary[object, frozenset[str]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self.get = self._kept.get
        """Return what is kept under a key, ``None`` if nothing is."""

    @property
    def nbytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._kept.nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def __setitem__(self, key: PixelKey, pixels: Image, /) -> None:
        self._kept[key] = pixels
        if key.of_recipe:
            self._drop_idle()

    def play(self, player: object, digests: Iterable[str]) -> None:
        """Say which recipes someone plays with from now on; with none of them, that it plays no more.

        Args:
            player: Whoever plays; hashable, and only referred to weakly.
            digests: Digests of the images.
        """
        played = frozenset(digests)
        with self._lock:
            if played:
                self._players[player] = played
            else:
                self._players.pop(player, None)

    def _drop_idle(self) -> None:
        with self._lock:
            in_play = frozenset[str]().union(*self._players.values())
        idle = [(key, size) for key, size in self._kept.sizes() if key.of_recipe and key.digest not in in_play]
        nbytes = sum(size for _, size in idle)
        for key, size in idle:
            if nbytes <= self._max_idle:
                return
            self._kept.drop(key)
            nbytes -= size
