"""Images as ``data:`` URLs, each encoded once however many requests it is part of."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import Literal, TypeAlias, get_args

import numpy as np

from deepeyes_env.agents.openai.pixel_ids import Names
from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.images.codec import Chroma, common_format, encode
from deepeyes_env.images.ref import ImageRef

ImageFormat: TypeAlias = Literal["jpeg", "png"]


class DataUrls:
    """Writes images as ``data:`` URLs, and keeps what it wrote by content; thread-safe.

    Encoded images and recipes are known by their digest, pixels by ``Names``: those that are
    held by anybody, as by the conversations that go on, are written once, and dropped when nobody holds them.

    An image that is encoded already goes out byte for byte, unless a server could see it otherwise than the environment
    does (see ``common_format``). The least recently used URLs are dropped when all
    together exceed a budget.

    Attributes:
        encodes: How many URLs have been written so far.
        nbytes: How many bytes of URLs are kept.

    Args:
        format: How pixels are encoded: ``"jpeg"`` or ``"png"`` (lossless, 3 to 10 times as large).
        quality: JPEG quality, 1 to 100.
        max_bytes: How many bytes of URLs to keep at most.

    Raises:
        ValueError: ``format`` is unknown, or ``quality`` is out of range.
    """

    def __init__(self, format: ImageFormat = "jpeg", quality: int = 90, max_bytes: int = 2 * 2**30) -> None:
        if format not in ("jpeg", "png"):
            raise UsageError(f"image_format={format!r}: must be 'jpeg' or 'png'")
        if not 1 <= quality <= 100:
            raise UsageError(f"quality={quality}: must be between 1 and 100")
        self.encodes = 0
        self.nbytes = 0
        self._format: ImageFormat = format
        self._quality = quality
        self._max_bytes = max_bytes
        self._names = Names()
        self._kept: OrderedDict[str | tuple[int, Chroma], Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

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
        key = (self._names(image.source), chroma) if isinstance(image.source, np.ndarray) else image.digest
        with self._lock:
            self._drop_forgotten()
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            else:
                mine = self._kept[key] = Future()
        if kept is not None:
            return kept.result()
        try:
            url = self._write(image, chroma)
        except BaseException as error:
            with self._lock:
                del self._kept[key]
            mine.set_exception(error)
            raise
        mine.set_result(url)
        self._count(url)
        return url

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

    def _count(self, url: bytes) -> None:
        with self._lock:
            self.encodes += 1
            self.nbytes += len(url)
            while self.nbytes > self._max_bytes and len(self._kept) > 1:
                oldest, future = next(iter(self._kept.items()))
                if not future.done():
                    return
                self._drop(oldest)

    def _drop_forgotten(self) -> None:
        while self._names.forgotten:
            number = self._names.forgotten.popleft()
            for chroma in get_args(Chroma):
                self._drop((number, chroma))

    def _drop(self, key: str | tuple[int, Chroma]) -> None:
        future = self._kept.pop(key, None)
        if future is not None:
            self.nbytes -= len(future.result())


def original_or_view(original: ImageRef, view: ImageRef) -> ImageRef:
    """Return the original if the view shows it in its own size, so that its bytes can go out untouched."""
    return original if original.is_encoded and original.size == view.size else view


def _base64(data: bytes) -> bytes:
    try:
        import pybase64
    except ImportError:
        return base64.b64encode(data)
    return pybase64.b64encode(data)
