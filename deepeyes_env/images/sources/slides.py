"""Whole-slide files and tiled TIFF, read from the level that is nearest to what is shown; extra ``slides``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import TiffImagePlugin

from deepeyes_env.errors import ImageError
from deepeyes_env.extras import import_extra
from deepeyes_env.images.codec import MAX_PIXELS, Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.sources.region_source import MAX_READ, STRIP, RegionSource, reduced, reduction
from deepeyes_env.images.sources.source_files import Stamp, content_key, shared_handle, unreadable

EXTRA = "slides"

SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide")
"""Endings of whole-slide files. A TIFF is read in this way if it is tiled and large: see ``is_large_tiled``."""

_MAX_TILE = 2**24
"""Most pixels of a tile: one is decoded whole, whatever it is needed for."""
_TILE_CACHE = 2**26
"""Bytes of decoded tiles that all slides of a process keep together."""
_TILE_WIDTH = 322


@dataclass(frozen=True, slots=True)
class Slide(RegionSource):
    """A whole-slide file or a tiled TIFF.

    Attributes:
        path: The file.
    """

    path: Path

    @property
    def key(self) -> str:
        """Its kind and a name by content; see ``content_key``."""
        return f"slide {content_key(Stamp.of(self.path))}"

    @property
    def size(self) -> Size:
        """``(width, height)`` of the finest level."""
        opened: _Opened = _opened(Stamp.of(self.path))
        return opened.size

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file."""
        return (str(self.path), "")

    def read(self, box: PixelBox, size: Size) -> Image:
        """Read a part from the coarsest level that still has ``size`` pixels; see ``RegionSource.read``."""
        stamp = Stamp.of(self.path)
        try:
            return self._read(_opened(stamp).slide, box, size)
        except ImageError:
            raise
        except Exception:
            # A handle that has failed once fails for good, also for whoever reads another part by it at the same time.
            _opened.cache_clear()  # type: ignore[attr-defined]
        try:
            return self._read(_open(stamp), box, size)
        except ImageError:
            raise
        except Exception as error:
            raise unreadable(self.path, error) from error

    def _read(self, slide: Any, box: PixelBox, size: Size) -> Image:
        x1, y1, x2, y2 = box
        level = slide.get_best_level_for_downsample(max(1.0, min((x2 - x1) / size[0], (y2 - y1) / size[1])))
        scale = slide.level_downsamples[level]
        stored = (max(1, round((x2 - x1) / scale)), max(1, round((y2 - y1) / scale)))
        if stored[0] * stored[1] > MAX_READ:
            raise ImageError(
                f"image {self.path}: has no level that is small enough to show {x2 - x1} x {y2 - y1} pixels as "
                f"{size[0]} x {size[1]}; read a smaller part, or write the file as a pyramid"
            )
        factor = reduction(stored, size)
        rows = max(1, STRIP // stored[0] // factor) * factor
        strips = []
        for top in range(0, stored[1], rows):
            at = (x1, y1 + round(top * scale))
            strip = slide.read_region(at, level, (stored[0], min(rows, stored[1] - top)))
            strips.append(reduced(_on_white(strip), factor))
        pixels = strips[0] if len(strips) == 1 else np.concatenate(strips)
        pixels.flags.writeable = False
        return pixels


@dataclass(frozen=True, slots=True)
class _Opened:
    """A handle, and what is asked of it whether or not it has failed since."""

    slide: Any
    size: Size


@shared_handle
def _opened(stamp: Stamp) -> _Opened:
    slide = _open(stamp)
    width, height = slide.dimensions
    return _Opened(slide, (width, height))


def _open(stamp: Stamp) -> Any:
    openslide = import_extra("openslide", EXTRA)
    try:
        slide = openslide.OpenSlide(stamp.path)
        slide.set_cache(_tile_cache(stamp.process))
    except Exception as error:
        raise unreadable(stamp.path, error) from error
    for level in range(slide.level_count):
        width, height = (_side(slide, level, side) for side in ("width", "height"))
        if width * height > _MAX_TILE:
            raise ImageError(f"image {stamp.path}: has tiles of {width} x {height} pixels; write it in tiles of 256")
    return slide


@functools.lru_cache(maxsize=1)
def _tile_cache(process: int) -> Any:
    return import_extra("openslide", EXTRA).OpenSlideCache(_TILE_CACHE)


def _side(slide: Any, level: int, side: str) -> int:
    return int(slide.properties.get(f"openslide.level[{level}].tile-{side}", 0))


def _on_white(image: PILImage.Image) -> PILImage.Image:
    """Drop the alpha channel; what was never scanned is transparent, and becomes white."""
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    white = PILImage.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def is_large_tiled(path: Path) -> bool:
    """Whether a file is a tiled TIFF that is not decoded whole: of more than ``MAX_PIXELS`` pixels.

    Only its header is read. What cannot be read is no such file, and is left to whoever decodes it.
    """
    try:
        Stamp.of(path)  # a pipe would wait for its writer
        with path.open("rb") as file:
            image = TiffImagePlugin.TiffImageFile(file, str(path))
            return _TILE_WIDTH in image.tag_v2 and image.width * image.height > MAX_PIXELS
    except Exception:  # Whoever decodes it says what is wrong.
        return False
