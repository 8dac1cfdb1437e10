"""ImageStore: each image decoded once per process, its pixels shared by everyone who asks."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.ops import FitMode, crop, fit
from deepeyes_env.images.pixel_cache import PixelCache, PixelKey
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.sources.region_source import MAX_WHOLE, RegionSource
from deepeyes_env.images.views import ViewBudget, shown_size
from deepeyes_env.single_flight import SingleFlight

MAX_IDLE_RECIPE_BYTES = 128 * 2**20
"""How many bytes of pixels drawn from recipes a store keeps for those who might come back to them."""


class ImageStore:
    """Decodes images and fits views, once each, and shares the read-only results; thread-safe.

    The least recently used results are dropped when all together exceed a budget: the image is then decoded again from
    its compressed source when it is next asked for. An array that someone still holds stays valid. What is drawn from
    recipes, as the scenes of the built-in task are, counts only while it is in play (see ``play``): of the rest no more
    than a small part of the budget is kept.

    Pickling or copying a store, or forking a process, gives the other side an empty store with the same budget (and
    ``shared_store`` gives the other side's shared store).

    Args:
        max_bytes: How many bytes of pixels are kept. A single result above it is handed out and not kept.
        max_idle_recipe_bytes: How many of them may be drawn from recipes that no environment plays with.
    """

    def __init__(self, max_bytes: int = 2 * 2**30, *, max_idle_recipe_bytes: int = MAX_IDLE_RECIPE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.max_idle_recipe_bytes = max_idle_recipe_bytes
        self._clear()
        if sys.platform != "win32":
            # The thread that holds the lock, or decodes what others wait for, does not live on in the child.
            os.register_at_fork(after_in_child=functools.partial(_clear_after_fork, weakref.ref(self)))

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._kept = PixelCache(self.max_bytes, self.max_idle_recipe_bytes)
        # Equal images may have other names, and what an error says about an image begins with its name.
        self._flight: SingleFlight[PixelKey, Image] = SingleFlight(self._kept, own_errors=(ImageError,))
        self._decodes = 0

    @property
    def nbytes(self) -> int:
        """Bytes of pixels kept now."""
        return self._kept.nbytes

    @property
    def decodes(self) -> int:
        """How many images have been decoded or drawn so far, those that failed included."""
        return self._decodes

    def __len__(self) -> int:
        return len(self._kept)

    @contextmanager
    def limited(self, max_bytes: int) -> Iterator[None]:
        """Keep no more than so many bytes of pixels within a block; what was kept before and in it is let go of."""
        before = (self.max_bytes, self.max_idle_recipe_bytes)
        self.max_bytes, self.max_idle_recipe_bytes = max_bytes, min(before[1], max_bytes)
        self._clear()
        try:
            yield
        finally:
            self.max_bytes, self.max_idle_recipe_bytes = before
            self._clear()

    def pixels(self, ref: ImageRef) -> Image:
        """Return the pixels of an image in native size: ``(H, W, 3)`` ``uint8``, read-only.

        A ref that holds an array costs nothing: the array is passed through.

        Raises:
            ImageError: The image cannot be decoded. Nothing is kept of it: the next call tries
                again.
        """
        if isinstance(ref.source, np.ndarray):
            return ref.source
        loaded = ref.loaded()
        return self._flight.once(PixelKey(loaded.digest, loaded.is_recipe), lambda: self._decode(loaded))

    def view(self, ref: ImageRef, budget: ViewBudget | None, mode: FitMode = "exact") -> Image:
        """Return an image as the environment shows it: at ``shown_size``, read-only.

        Views are kept by content, size and mode, so a group of episodes shares one. Naming an array by content costs a
        hash of its pixels: a crop that nobody else will ask for is better fitted with ``ops.fit``.

        Raises:
            ImageError: The image cannot be decoded.
            MissingExtraError: ``mode`` is ``fast`` and torch is not installed.
        """
        loaded = ref.loaded()
        size = shown_size(loaded.size, budget)
        if size == loaded.size:
            return self.pixels(loaded)
        key = PixelKey(loaded.digest, loaded.is_recipe, size, mode)
        return self._flight.once(key, lambda: self._fitted(loaded, size, mode))

    def part(self, ref: ImageRef, box: PixelBox, budget: ViewBudget | None, mode: FitMode = "exact") -> Image:
        """Return a part of an image, in as many pixels as an environment needs to show it.

        An image that is decoded whole gives its native pixels: a view, nothing is copied. One that is read part by part
        (``RegionSource``) is read at ``shown_size`` of the box; such a part is not kept.

        Args:
            ref: The image.
            box: ``(x1, y1, x2, y2)`` in native pixels.
            budget: The view budget; ``None`` shows native pixels.
            mode: How it is resized.

        Raises:
            ImageError: The image cannot be decoded, or the part is too large to be read.
            UsageError: The box is empty or reaches beyond the image.
        """
        source = ref.source
        if not isinstance(source, RegionSource):
            return crop(self.pixels(ref), box)
        x1, y1, x2, y2 = box
        size = shown_size((x2 - x1, y2 - y1), budget)
        if not (0 <= x1 < x2 <= ref.size[0] and 0 <= y1 < y2 <= ref.size[1]):
            raise UsageError(f"box {box} does not lie inside the image of {ref.size[0]} x {ref.size[1]}")
        if size[0] * size[1] > MAX_WHOLE:
            raise ImageError(f"image {ref.name}: {size[0]} x {size[1]} pixels are too many to be shown at once")
        return fit(source.read(box, size), size, mode)

    def _fitted(self, ref: ImageRef, size: Size, mode: FitMode) -> Image:
        if isinstance(ref.source, RegionSource):
            return fit(ref.source.read((0, 0, *ref.size), size), size, mode)
        return fit(self.pixels(ref), size, mode)

    def size(self, ref: ImageRef) -> Size:
        """Return ``(width, height)`` of an image in native pixels, without decoding it.

        Raises:
            ImageError: The header cannot be read.
        """
        return ref.loaded().size

    def play(self, player: object, refs: Iterable[ImageRef]) -> None:
        """Say which images someone plays with from now on, instead of those before; with none, that it plays no more.

        What is drawn from recipes is kept while someone plays with it, as far as ``max_bytes`` goes.

        Args:
            player: Whoever plays, such as an environment; hashable, and only referred to weakly.
            refs: The images.
        """
        self._kept.play(player, (ref.digest for ref in refs if ref.is_recipe))

    def _decode(self, ref: ImageRef) -> Image:
        with self._lock:
            self._decodes += 1
        return ref.pixels()

    def __reduce__(self) -> tuple[Any, ...]:
        if self is _SHARED:
            return shared_store, ()
        limits = {"max_bytes": self.max_bytes, "max_idle_recipe_bytes": self.max_idle_recipe_bytes}
        return functools.partial(ImageStore, **limits), ()


def _clear_after_fork(this: weakref.ref[ImageStore]) -> None:
    store = this()
    if store is not None:
        store._clear()


_SHARED = ImageStore()


def shared_store() -> ImageStore:
    """Return this process's default store."""
    return _SHARED
