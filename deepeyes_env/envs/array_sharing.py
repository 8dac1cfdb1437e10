"""Images go out shared, yet observations that someone holds at the same time never overlap."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np

from deepeyes_env.images import Image


class ObservationViews:
    """Read-only views of the store's images, for the observations of one environment.

    Gymnasium's ``check_env`` demands that two resets never return arrays with the same memory, read-only or not, while
    the store keeps one copy of an image for everyone. So an image is shared as long as nobody holds an earlier
    observation of it from this environment, and copied otherwise.
    """

    def __init__(self) -> None:
        self._held: list[weakref.ref[Image]] = []

    def __call__(self, images: Sequence[Image]) -> tuple[Image, ...]:
        """Return the images as arrays of their own, read-only, sharing memory with the store where they may."""
        held = [array for ref in self._held if (array := ref()) is not None]
        fresh = tuple(
            _copy(image) if any(np.may_share_memory(image, other) for other in held) else image.view()
            for image in images
        )
        self._held = [weakref.ref(array) for array in (*held, *fresh)]
        return fresh

    def __reduce__(self) -> tuple[type[ObservationViews], tuple[()]]:
        # Nobody holds an observation of a copy yet, nor of what another process unpickles.
        return (ObservationViews, ())


def _copy(image: Image) -> Image:
    copied = image.copy()
    copied.flags.writeable = False
    return copied
