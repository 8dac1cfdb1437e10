"""ImageRef: the name of an image and where its pixels come from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from deepeyes_env.errors import ImageError, UsageTypeError
from deepeyes_env.files import read_regular_file
from deepeyes_env.images import codec
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.names import named_image
from deepeyes_env.images.sources.named import source_of


@runtime_checkable
class Renderable(Protocol):
    """A recipe for an image: small to keep and to pickle, drawn when the pixels are asked for.

    Attributes:
        key: Text that determines the pixels: equal keys mean equal images.
        size: ``(width, height)`` in pixels.
    """

    @property
    def key(self) -> str:
        """Text that determines the pixels."""
        ...

    @property
    def size(self) -> Size:
        """``(width, height)`` in pixels."""
        ...

    def render(self) -> Image:
        """Draw the image: ``(H, W, 3)`` ``uint8``."""
        ...


ImageSource: TypeAlias = bytes | Path | Image | Renderable
"""Where the pixels of an image come from: encoded bytes, a file, an array or a recipe."""

_ENCODED, _NO_RECIPE = (bytes, Path), (bytes, Path, np.ndarray)

ImageLike: TypeAlias = "ImageRef | bytes | bytearray | str | Path | PILImage.Image | NDArray[Any] | Renderable"
"""Whatever names or holds an image; ``ImageRef.of`` makes a reference of it."""


class ImageRef:
    """An image by content hash, with the place its pixels come from: encoded bytes, a file, an array or a recipe.

    Making one is cheap: nothing is read, hashed or decoded before it is asked for. Two refs are equal when their
    digests are. ``deepeyes_env.images.ImageStore`` decodes each ref once per process and shares the result.

    Args:
        source: Encoded bytes (JPEG, PNG, ...), a ``Path``, an RGB ``uint8`` array or a ``Renderable``. Use
            ``of`` for anything else.
        name: How errors name this image (a sample id, a file name); the path itself for files.
        digest: The hexadecimal SHA-256, when it is known already.
    """

    __slots__ = ("_chroma", "_digest", "_of_file", "_size", "name", "source")

    def __init__(self, source: ImageSource, *, name: str = "", digest: str = "") -> None:
        self.source = source
        self.name = name or (str(source) if isinstance(source, Path) else "")
        self._digest = digest
        self._of_file = ""  # SHA-256 of the file as it was first read; a recorded image may go by that of its pixels
        self._size: Size | None = None
        self._chroma: codec.Chroma | None = None

    @classmethod
    def of(cls, image: ImageLike, *, name: str = "") -> ImageRef:
        """Make a ref from whatever names or holds an image.

        Writable arrays are copied, so that nobody can change an image behind a ref's back. A text is a path, a
        ``file://`` URL or a data URL. A whole-slide file, a very large image or a page of a PDF
        (``report.pdf#page=3``) is read part by part: see ``deepeyes_env.images.sources``.

        Raises:
            ImageError: ``image`` is the URL of another machine, or a data URL that holds no image.
            UsageTypeError: ``image`` is none of the accepted types.
            UsageError: An array is not ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` of dtype ``uint8``, or
                is empty.
        """
        if isinstance(image, ImageRef):
            return image
        if isinstance(image, bytes | bytearray):
            return cls(bytes(image), name=name)
        if isinstance(image, str):
            named = named_image(image)
            return cls(named, name=name) if isinstance(named, bytes) else cls.of(named, name=name)
        if isinstance(image, Path):
            return cls(source_of(image), name=name or str(image))
        if isinstance(image, PILImage.Image):
            return cls(codec.to_rgb_array(image), name=name)
        if isinstance(image, np.ndarray):
            return cls(codec.as_rgb_array(image), name=name)
        if isinstance(image, Renderable):
            return cls(image, name=name)
        raise UsageTypeError(
            f"cannot read an image from {type(image).__name__}: pass encoded bytes, a path, a PIL image, "
            "a uint8 array of shape (H, W, 3) or an ImageRef"
        )

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the encoded bytes; of shape and pixels for arrays; of the key for recipes."""
        if not self._digest:
            self._digest = self._hash()
        return self._digest

    @property
    def size(self) -> Size:
        """``(width, height)`` in pixels after EXIF rotation, read from the header where the source is encoded."""
        if self._size is None:
            if isinstance(self.source, np.ndarray):
                self._size = (self.source.shape[1], self.source.shape[0])
            elif isinstance(self.source, bytes | Path):
                self._size = codec.read_size(self.encoded(), name=self.name)
            else:
                self._size = self.source.size
        return self._size

    @property
    def chroma(self) -> codec.Chroma:
        """Resolution of the colours: read from the header of a JPEG, full in anything else.

        Raises:
            ImageError: The file cannot be read.
        """
        if self._chroma is None:
            self._chroma = codec.chroma_of(self.encoded()) if self.is_encoded else "4:4:4"
        return self._chroma

    def encoded(self) -> bytes:
        """Return the original encoded bytes.

        Raises:
            UsageTypeError: The image has no encoded bytes (an array or a recipe).
            ImageError: The file cannot be read, is no regular file, is larger than a gigabyte, or is no longer the one
                that was read before.
        """
        if isinstance(self.source, bytes):
            return self.source
        if isinstance(self.source, Path):
            return self._read(self.source)
        raise UsageTypeError(f"image {self.name or self.digest[:12]} has pixels but no encoded bytes")

    def _read(self, path: Path) -> bytes:
        try:
            data = read_regular_file(path)
        except OSError as error:
            raise ImageError(f"image {self.name}: cannot be read ({error.strerror or error})") from error
        # Other pixels under this digest would be shared by a store, and recorded for good.
        if self._of_file and hashlib.sha256(data).hexdigest() != self._of_file:
            raise ImageError(f"image {self.name}: the file has changed since it was read; leave it alone and run again")
        return data

    def loaded(self) -> ImageRef:
        """Return a ref to the same image that tells its digest and size without reading a file.

        That is this ref itself, unless it names a file that it has not looked into yet: then the file is read, once,
        and the returned ref holds the bytes, so that the pixels can be decoded without reading it again.

        Raises:
            ImageError: The file cannot be read, or its header cannot.
        """
        if not isinstance(self.source, Path) or (self._digest and self._size):
            return self
        loaded = ImageRef(self.encoded(), name=self.name, digest=self._digest)
        if not self._digest:
            self._of_file = loaded.digest
        self._digest, self._size = loaded.digest, loaded.size
        return loaded

    @property
    def is_encoded(self) -> bool:
        """Whether the source is encoded bytes or a file, rather than pixels or a recipe."""
        return isinstance(self.source, _ENCODED)

    @property
    def is_recipe(self) -> bool:
        """Whether the pixels are drawn when they are asked for."""
        return not isinstance(self.source, _NO_RECIPE)

    def pixels(self) -> Image:
        """Return the pixels, decoded now: ``(H, W, 3)`` ``uint8``, read-only. An ``ImageStore`` does this only once.

        Raises:
            ImageError: The image cannot be decoded; the message names it.
        """
        if isinstance(self.source, np.ndarray):
            return self.source
        if isinstance(self.source, bytes | Path):
            return codec.decode(self.encoded(), name=self.name)
        return codec.as_rgb_array(self.source.render())

    def _hash(self) -> str:
        if isinstance(self.source, np.ndarray):
            sha = hashlib.sha256(f"{self.source.shape}".encode())
            sha.update(np.ascontiguousarray(self.source).data)
            return sha.hexdigest()
        if isinstance(self.source, Path):
            self._of_file = hashlib.sha256(self.encoded()).hexdigest()
            return self._of_file
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return hashlib.sha256(self.source.key.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageRef) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        kind = type(self.source).__name__
        return f"ImageRef({self.name or kind!r}, digest={self._digest[:12] or '?'})"
