"""Backgrounds of scenes: drawn ones, and photographs."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps

from deepeyes_env.data.visual_search.shapes import capsule
from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.images.codec import Image, known_formats, to_rgb_array
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.frames import Size

logger = logging.getLogger(__name__)

FINE_GRAIN, COARSE_GRAIN = 6, 4
"""Largest noise, in grey levels, on single pixels and on blocks of the size of a view pixel."""

_TILE = 256
_ORIENTATION = 0x0112
_UNREADABLE = (OSError, ValueError, SyntaxError, PILImage.DecompressionBombError)
_SMALL_PIXELS = 4_000_000


@dataclass(frozen=True, slots=True)
class Drawn:
    """Red grows to the right and green downwards, so that every patch tells its place; noise; and loose bars.

    The ramps are there for small vision transformers, whose position encodings are only relative.

    Attributes:
        clutter: Number of bars.
    """

    clutter: int

    def draw(self, size: Size, grain: int, rng: np.random.Generator) -> Image:
        """Draw a background of ``size``: a writable ``(H, W, 3)`` array; ``grain`` is a view pixel's native side."""
        width, height = size
        low, high = rng.integers(50, 70), rng.integers(150, 170)
        noise = _tiled_noise(size, grain, rng)
        image = np.empty((height, width, 3), np.uint8)
        image[..., 0] = noise + np.linspace(low, high, width).astype(np.uint8)[None, :]
        image[..., 1] = noise + np.linspace(low, high, height).astype(np.uint8)[:, None]
        image[..., 2] = noise + np.uint8(rng.integers(90, 140))
        for _ in range(self.clutter):
            self._bar(image, grain, rng)
        return image

    def _bar(self, image: Image, grain: int, rng: np.random.Generator) -> None:
        side = min(int(rng.integers(6, 20)) * grain, *image.shape[:2])
        y, x = (int(rng.integers(0, limit - side + 1)) for limit in image.shape[:2])
        cover = capsule(side, rng.uniform(0, math.pi), rng.uniform(1.0, 2.5) * grain)[..., None]
        patch = image[y : y + side, x : x + side]
        patch[:] = np.rint(patch + 0.6 * cover * (rng.integers(50, 200, 3, np.int16) - patch))


@dataclass(frozen=True, slots=True)
class Paper:
    """Pale grey with noise, which has none of the objects' colours."""

    GREY: ClassVar[int] = 232

    def draw(self, size: Size, grain: int, rng: np.random.Generator) -> Image:
        """Draw a background of ``size``: a writable ``(H, W, 3)`` array; ``grain`` is a view pixel's native side."""
        grey: Image = (_tiled_noise(size, grain, rng) + np.uint8(self.GREY))[..., None].repeat(3, axis=-1)
        return grey


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph, scaled to cover the scene and cut to it.

    Attributes:
        name: File name.
        bytes: Size of the file. Name and size stand for the photograph in a scene's key, so that the key is the same
            wherever the folder lies.
        path: The file.
        place: Which part is kept where the photograph is longer than the scene: 0 is the top or left, 1 the other end.
    """

    name: str
    bytes: int
    path: str = field(repr=False, compare=False)
    place: float = 0.5

    @classmethod
    def of(cls, path: Path) -> Photo:
        """Name the middle part of a file."""
        return cls(path.name, path.stat().st_size, str(path))

    def draw(self, size: Size, grain: int, rng: np.random.Generator) -> Image:
        """Return the photograph cut to ``size``: a writable ``(H, W, 3)`` array.

        Raises:
            ImageError: The file cannot be read; the message names it.
        """
        cover = (_small_cover if size[0] * size[1] <= _SMALL_PIXELS else _large_cover)(self.path, size)
        x = round(self.place * (cover.shape[1] - size[0]))
        y = round(self.place * (cover.shape[0] - size[1]))
        return cover[y : y + size[1], x : x + size[0]].copy()


def noise(size: Size, grain: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Return noise of shape ``(H, W)`` around 0, on single pixels and on blocks of ``grain`` pixels."""
    width, height = size
    blocks = rng.integers(-COARSE_GRAIN, COARSE_GRAIN + 1, (-(-height // grain), -(-width // grain)), np.int8)
    coarse = blocks.repeat(grain, axis=0)[:height].repeat(grain, axis=1)[:, :width]
    grains: NDArray[np.int8] = coarse + rng.integers(-FINE_GRAIN, FINE_GRAIN + 1, (height, width), np.int8)
    return grains


def _tiled_noise(size: Size, grain: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    width, height = size
    tile = noise((min(width, _TILE), min(height, _TILE)), grain, rng).view(np.uint8)
    return np.tile(tile, (-(-height // tile.shape[0]), -(-width // tile.shape[1])))[:height, :width]


def find_photos(path: Path) -> list[Path]:
    """List the files in a folder and its folders, sorted, that Pillow takes for images; or ``path`` if it is a file.

    Other files are passed over with a warning.

    Raises:
        UsageError: There is no such folder, or it holds no readable photo.
    """
    if not path.exists():
        raise UsageError(f"folder of photos {str(path)!r} does not exist")
    photos = []
    images = ImageFolder(path if path.is_dir() else path.parent)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            try:
                _check_name(file.name if file == path else file.relative_to(path).as_posix())
                photo_size(images.path(file.relative_to(images.folder)) if path.is_dir() else file)
            except ImageError as error:
                logger.warning("skipped %s", error)
            else:
                photos.append(file)
    if not photos:
        raise UsageError(f"folder of photos {str(path)!r} holds no readable photo; it needs JPEG, PNG or WebP files")
    return photos


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"photo {name!r}: its name is not UTF-8, and ids of samples are made of it") from error


def photo_size(path: Path) -> Size:
    """Return ``(width, height)`` of a photo as it is to be looked at, from its header.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        with PILImage.open(path, formats=known_formats()) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
    except _UNREADABLE as error:
        raise ImageError(f"photo {str(path)!r}: cannot be read ({error})") from error
    return (height, width) if turned else (width, height)


def _cover(path: str, size: Size) -> Image:
    try:
        with PILImage.open(path, formats=known_formats()) as image:
            image.draft("RGB", (2 * max(size), 2 * max(size)))
            photo = to_rgb_array(ImageOps.exif_transpose(image))
    except _UNREADABLE as error:
        raise ImageError(f"photo {path!r}: cannot be read ({error})") from error
    height, width = photo.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    target = (max(size[0], round(width * scale)), max(size[1], round(height * scale)))
    if target == (width, height):
        return photo
    return to_rgb_array(PILImage.fromarray(photo).resize(target, PILImage.Resampling.BICUBIC))


# Scenes come back to the same few photos. Large ones would hold too much memory: only the last is kept.
_small_cover = lru_cache(maxsize=16)(_cover)
_large_cover = lru_cache(maxsize=1)(_cover)
