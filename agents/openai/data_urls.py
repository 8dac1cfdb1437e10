"""Images as ``data:`` URLs, each encoded once however many requests it is part of."""

from __future__ import annotations

import base64
from typing import Literal, TypeAlias, get_args

import numpy as np

from deepeyes_env.agents.openai.pixel_ids import Names
from deepeyes_env.byte_cache import ByteCache
from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.images.codec import Chroma, common_format, encode
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.single_flight import SingleFlight

ImageFormat: TypeAlias = Literal["jpeg", "png"]

_Key: TypeAlias = str | tuple[int, Chroma]
"""A digest, or what ``Names`` calls an array and how its colours are written."""


class DataUrls:
    """Writes images as ``data:`` URLs, and keeps what it wrote by content; thread-safe.

    Encoded images and recipes are known by their digest, pixels by ``Names``: those that are
    held by anybody, as by the conversations that go on, are written once, and dropped when nobody holds them.

    An image that is encoded already goes out byte for byte, unless a server could see it otherwise than the environment
    does (see ``common_format``). The least recently used URLs are dropped when all
    together exceed a budget.

    Args:
        format: How pixels are encoded: ``"jpeg"`` or ``"png"`` (lossless, 3 to 10 times as large).
        quality: JPEG quality, 1 to 100.
        max_bytes: How many bytes of URLs to keep at most; a single one above it is not kept.

    Raises:
        UsageError: ``format`` is unknown, or ``quality`` is out of range.
    """

    def __init__(self, format: ImageFormat = "jpeg", quality: int = 90, max_bytes: int = 2 * 2**30) -> None:
        if format not in ("jpeg", "png"):
            raise UsageError(f"image_format={format!r}: must be 'jpeg' or 'png'")
        if not 1 <= quality <= 100:
            raise UsageError(f"quality={quality}: must be between 1 and 100")
        self._format: ImageFormat = format
        self._quality = quality
        self._names = Names()
        self._kept = _KeptUrls(max_bytes, self._names)
        self._flight: SingleFlight[_Key, bytes] = SingleFlight(self._kept, own_errors=(ImageError,))

    @property
    def encodes(self) -> int:
        """How many URLs have been written so far."""
        return self._kept.written

    @property
    def nbytes(self) -> int:
        """How many bytes of URLs are kept."""
        return self._kept.nbytes

    def __call__(self, image: ImageRef, cut_from: ImageRef | None = None) -> bytes:
        """Return the URL of an image, in ASCII.

        Args:
            image: The image.
            cut_from: What it shows a part of in the same size or larger. A crop's colours need no more resolution than
                those that it was cut from, which in most photographs is half of the brightness'.

        Raises:
            ImageError: The image cannot be decoded.
        """
        chroma = self._chroma_of(cut_from)
        key: _Key = (self._names(image.source), chroma) if isinstance(image.source, np.ndarray) else image.digest
        return self._flight.once(key, lambda: self._write(image, chroma))

    def _chroma_of(self, original: ImageRef | None) -> Chroma:
        """Return the resolution of an original's colours; full where there is none, or none that can be read."""
        try:
            return original.chroma if original is not None and self._format == "jpeg" else "4:4:4"
        except ImageError:
            return "4:4:4"

    def _write(self, image: ImageRef, chroma: Chroma) -> bytes:
        data = image.encoded() if image.is_encoded else b""
        format = common_format(data, grey=True)  # servers make what they decode RGB
        if not format:
            format, data = self._format, encode(image.pixels(), self._format, self._quality, chroma)
        return b"data:image/%s;base64,%s" % (format.encode(), _base64(data))


class _KeptUrls(ByteCache[_Key, bytes]):
    """URLs by content, without those of pixels that nobody holds any more.

    Attributes:
        written: How many have been kept or could have been.
    """

    def __init__(self, max_bytes: int, names: Names) -> None:
        super().__init__(max_bytes, len)
        self.written = 0
        self._names = names

    def get(self, key: _Key, /) -> bytes | None:
        """Return a URL; ``None`` if it is not kept."""
        while self._names.forgotten:
            number = self._names.forgotten.popleft()
            for chroma in get_args(Chroma):
                self.drop((number, chroma))
        return super().get(key)

    def __setitem__(self, key: _Key, url: bytes, /) -> None:
        self.written += 1
        super().__setitem__(key, url)


def original_or_view(original: ImageRef, view: ImageRef) -> ImageRef:
    """Return the original if the view shows it in its own size, so that its bytes can go out untouched."""
    return original if original.is_encoded and original.size == view.size else view


def _base64(data: bytes) -> bytes:
    try:
        import pybase64
    except ImportError:
        return base64.b64encode(data)
    return pybase64.b64encode(data)
