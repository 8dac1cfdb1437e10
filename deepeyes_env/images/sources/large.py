"""Very large JPEG and PNG files: streamed once into a file of tiles, and read from that; extra ``large``."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import JpegImagePlugin, PngImagePlugin

from deepeyes_env.errors import ImageError
from deepeyes_env.images.codec import MAX_PIXELS, Image, orientation_of
from deepeyes_env.images.frames import PixelBox, Size, to_pixels
from deepeyes_env.images.jpeg_bounds import MAX_PIXELS_PER_BYTE
from deepeyes_env.images.regions import Region
from deepeyes_env.images.sources import tile_cache
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.images.sources.slides import Slide
from deepeyes_env.images.sources.source_files import Stamp, file_digest, unreadable

SUFFIXES = (".jpg", ".jpeg", ".png")

MAX_LARGE = 2**32
"""Most pixels of an image that is cut into tiles: a JPEG of 65,535 pixels a side has as many."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PER_BYTE = {"JPEG": MAX_PIXELS_PER_BYTE, "PNG": 8 * 1032}
"""Most pixels that a byte can stand for: a PNG has at least a bit for each, and packs 1,032 bytes into one."""
_TURNED = {
    1: (0, False), 2: (0, True), 3: (2, False), 4: (2, True),
    5: (3, True), 6: (1, False), 7: (1, True), 8: (3, False),
}  # fmt: skip
"""Quarter turns clockwise, and before that mirrored or not, by EXIF orientation."""


@dataclass(frozen=True, slots=True)
class LargeImage(RegionSource):
    """A JPEG or PNG of more pixels than are ever decoded at once.

    Its first part is read when all of it has been streamed into tiles, by this process or another one.

    Attributes:
        path: The file.
    """

    path: Path

    @property
    def key(self) -> str:
        """Its kind and the SHA-256 of the file."""
        return f"large {file_digest(Stamp.of(self.path))}"

    @property
    def size(self) -> Size:
        """``(width, height)`` after EXIF rotation."""
        width, height = self._held().size
        return (int(width), int(height))

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file."""
        return (str(self.path), "")

    def read(self, box: PixelBox, size: Size) -> Image:
        """Read a part from its tiles; see ``RegionSource.read``."""
        held = self._held()
        part = held.part(box)
        shown = size[::-1] if held.quarters % 2 else size
        for _ in range(2):
            tiles = tile_cache.tiles_of(Stamp.of(self.path), _header(Stamp.of(self.path)).kind)
            try:
                pixels = np.ascontiguousarray(part.held(Slide(tiles).read(to_pixels(part.box), shown)))
                break
            except ImageError as error:  # deleted just now, or damaged: written anew
                tiles.unlink(missing_ok=True)
                problem = error
        else:
            raise ImageError(f"image {self.path}: its tiles cannot be read ({problem})") from problem
        pixels.flags.writeable = False
        return pixels

    def _held(self) -> Region:
        """Return all of the image as it is held: its box is what is stored."""
        header = _header(Stamp.of(self.path))
        return Region(0, (0, 0, *header.size), *_TURNED[header.orientation])


@dataclass(frozen=True, slots=True)
class _Header:
    kind: str
    size: Size
    orientation: int


@functools.lru_cache(maxsize=4096)
def _header(stamp: Stamp) -> _Header:
    """Read the header of an image, and refuse what cannot be streamed, or is not what it says."""
    path = stamp.path
    try:
        with path.open("rb") as file:
            kind = "PNG" if file.read(len(_PNG)) == _PNG else "JPEG"
            file.seek(0)
            opened = PngImagePlugin.PngImageFile if kind == "PNG" else JpegImagePlugin.JpegImageFile
            image = opened(file, str(path))
            orientation = orientation_of(image)
    except Exception as error:
        raise unreadable(path, error) from error
    width, height = image.size
    what = f"{width} x {height} pixels"
    if width * height > min(MAX_LARGE, _PER_BYTE[kind] * stamp.nbytes):
        most = f"the limit of {MAX_LARGE}" if width * height > MAX_LARGE else f"its {stamp.nbytes} bytes can hold"
        raise ImageError(f"image {path}: declares {what}, more than {most} (a decompression bomb?)")
    if image.info.get("progressive") or image.info.get("interlace"):
        how = "interlaced" if kind == "PNG" else "progressive"
        raise ImageError(
            f"image {path}: is {how}, so all of its {what} would have to be held at once; write it again without that"
        )
    if image.mode == "CMYK":
        raise ImageError(f"image {path}: has {what} in CMYK; write it again in RGB")
    return _Header(kind, (width, height), orientation)


def is_large(path: Path) -> bool:
    """Whether a file is a JPEG or PNG that is not decoded whole: of more than ``MAX_PIXELS`` pixels.

    Only its header is read, of a JPEG if it is large enough to hold so many. What cannot be read is no such file, and
    is left to whoever decodes it.
    """
    try:
        stamp = Stamp.of(path)  # a pipe would wait for its writer
        with path.open("rb") as file:
            head = file.read(24)
            if head.startswith(_PNG):
                width, height = struct.unpack(">II", head[16:])
                return bool(width * height > MAX_PIXELS)
            if not head.startswith(_JPEG) or stamp.nbytes * MAX_PIXELS_PER_BYTE < MAX_PIXELS:
                return False
            file.seek(0)
            width, height = JpegImagePlugin.JpegImageFile(file, str(path)).size
            return width * height > MAX_PIXELS
    except Exception:  # Whoever decodes it says what is wrong.
        return False
