"""The record of an image that is read part by part: where its file is, instead of a copy of its gigapixels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deepeyes_env.errors import ImageError
from deepeyes_env.files import read_regular_file
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.sources.named import source_of
from deepeyes_env.images.sources.region_source import RegionSource

ADDRESS_EXTENSION = "address"
"""Ending of a recorded address."""


class Folder(Protocol):
    """Says which files a record may name: an ``ImageFolder``."""

    def path(self, name: str | Path) -> Path:
        """Return the path of a name, or raise ``ImageError``."""
        ...


def dump_address(source: RegionSource) -> bytes:
    """Write down where the pixels of a source are.

    Raises:
        ImageError: It has no address.
    """
    path, fragment = source.address
    if not path:
        raise ImageError(f"image {type(source).__name__}: has no address that could be recorded; give it one (address)")
    return json.dumps({"path": str(Path(path).absolute()), "fragment": fragment, "size": source.size}).encode()


@dataclass(frozen=True, slots=True)
class Recorded(RegionSource):
    """An image by its recorded address; its file is looked for when pixels are asked for.

    Attributes:
        file: The recorded address.
        digest: Digest of the image when it was recorded.
        folder: Says which files may be opened.
    """

    file: Path
    digest: str
    folder: Folder

    @property
    def key(self) -> str:
        """The key of the source."""
        return self._source().key

    @property
    def size(self) -> Size:
        """``(width, height)`` as recorded."""
        width, height = map(int, self._address()["size"])
        return (width, height)

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file, and what of it is meant, as recorded."""
        address = self._address()
        return (str(address["path"]), str(address["fragment"]))

    def read(self, box: PixelBox, size: Size) -> Image:
        """Read a part; see ``RegionSource.read``.

        Raises:
            ImageError: The file is gone, has changed, or lies where records may not lead.
        """
        return self._source().read(box, size)

    def _source(self) -> RegionSource:
        path, fragment = self.address
        source = source_of(self.folder.path(path), fragment)
        if not isinstance(source, RegionSource) or hashlib.sha256(source.key.encode()).hexdigest() != self.digest:
            raise ImageError(f"image {path}: is no longer the file that was recorded")
        return source

    def _address(self) -> dict[str, Any]:
        try:
            address = json.loads(read_regular_file(self.file))
            _ = address["path"], address["fragment"], list(map(int, address["size"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ImageError(f"image {self.file}: is no recorded address ({error})") from error
        return dict(address)
