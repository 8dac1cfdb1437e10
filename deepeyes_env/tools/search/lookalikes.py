"""Lookalikes: the images of a folder that show what another image shows, in part or as a whole.

Found by SIFT features (Lowe, 2004) that are compared as RootSIFT (Arandjelovic and Zisserman, 2012), and confirmed by
their geometry: many of them must lie where one turn, scale and shift puts them. No weights are needed; a perceptual
hash, which needs none either, does not find a crop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.errors import ImageError
from deepeyes_env.extras import import_extra
from deepeyes_env.images import Image, ImageRef

Floats = NDArray[np.float32]

LONG_SIDE = 480
"""Pixels of the long side at which features are looked for."""

FEATURES = 200
"""Features of an image of the folder; what is searched for has twice as many."""

_CANDIDATES = 20
_ALIKE = 0.75  # the cosine of two descriptors that may be one point
_CONTRAST = 0.01  # a quarter of OpenCV's: smooth images have features too
_LEAST_INLIERS = 6
_TOLERANCE = 6.0  # pixels
_ROWS = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of an image.

    Attributes:
        points: ``(n, 2)``, pixels of the image as it was looked at.
        descriptors: ``(n, 128)``, of length 1.
    """

    points: Floats
    descriptors: Floats

    @classmethod
    def none(cls) -> Features:
        """Return those of an image that has none."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32))

    @classmethod
    def of(cls, image: Image, most: int) -> Features:
        """Find the strongest features of an image."""
        cv2 = import_extra("cv2", "search")
        height, width = image.shape[:2]
        scale = LONG_SIDE / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), size)
        found, descriptors = cv2.SIFT_create(nfeatures=most, contrastThreshold=_CONTRAST).detectAndCompute(grey, None)
        if descriptors is None:
            return cls.none()
        points = np.array([each.pt for each in found], np.float32)[:most]
        roots = np.sqrt(descriptors[:most] / np.maximum(descriptors[:most].sum(1, keepdims=True), 1e-6))
        return cls(points, roots.astype(np.float32))


class Lookalikes:
    """An index of images.

    Args:
        images: The images; one that cannot be read is never found.
    """

    def __init__(self, images: Iterable[ImageRef]) -> None:
        self._features: list[Features] = []
        for ref in images:
            try:
                self._features.append(Features.of(ref.pixels(), FEATURES))
            except ImageError:
                self._features.append(Features.none())
        self._filled = [number for number, each in enumerate(self._features) if len(each.points)]
        held = [self._features[number].descriptors for number in self._filled]
        self._starts = np.cumsum([0, *map(len, held)])[:-1]
        self._all = np.concatenate([*held, Features.none().descriptors])

    def find(self, image: Image, count: int) -> list[int]:
        """Return the numbers of the images that show what an image shows, the surest first.

        Args:
            image: What is searched for: RGB, ``uint8``.
            count: How many are returned at most.
        """
        wanted = Features.of(image, 2 * FEATURES)
        if not len(wanted.points) or not self._filled:
            return []
        best = np.argsort(-self._votes(wanted), kind="stable")[:_CANDIDATES]
        sure = {self._filled[each]: self._inliers(wanted, self._features[self._filled[each]]) for each in best}
        ranked = sorted(sure, key=lambda number: -sure[number])
        return [number for number in ranked if sure[number] >= _LEAST_INLIERS][:count]

    def _votes(self, wanted: Features) -> Floats:
        """Return how much more the features that are wanted are like those of each image than like all others'."""
        alike = np.full((len(self._filled), len(wanted.points)), -1, np.float32)
        for row in range(0, len(self._all), _ROWS):
            similar = self._all[row : row + _ROWS] @ wanted.descriptors.T
            first = int(np.searchsorted(self._starts, row, side="right")) - 1
            last = int(np.searchsorted(self._starts, row + len(similar), side="left"))
            cuts = np.maximum(self._starts[first:last] - row, 0)
            alike[first:last] = np.maximum(alike[first:last], np.maximum.reduceat(similar, cuts))
        good = alike > _ALIKE
        if len(alike) == 1:
            return np.asarray(good.sum(1), np.float32)
        second, best = np.partition(alike, -2, axis=0)[-2:]
        lead = np.where(alike >= best, best - second, 0) * good
        return np.asarray(lead.sum(1) + 1e-3 * good.sum(1), np.float32)

    def _inliers(self, wanted: Features, there: Features) -> int:
        """Return how many features lie where one turn, scale and shift puts them."""
        cv2 = import_extra("cv2", "search")
        similar = wanted.descriptors @ there.descriptors.T
        partner = similar.argmax(1)
        mutual = (similar.argmax(0)[partner] == np.arange(len(partner))) & (similar.max(1) > _ALIKE)
        if mutual.sum() < _LEAST_INLIERS:
            return 0
        here, others = wanted.points[mutual], there.points[partner[mutual]]
        cv2.setRNGSeed(0)
        transform, inside = cv2.estimateAffinePartial2D(here, others, ransacReprojThreshold=_TOLERANCE)
        return 0 if transform is None else int(np.sum(inside))
