"""Images as files: their encoded bytes, and the extension that says what those are."""

from __future__ import annotations

from deepeyes_env.images import codec
from deepeyes_env.images.ref import ImageRef

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
)


def encoded_image(image: ImageRef) -> bytes:
    """Return an image's own encoded bytes, untouched, or a PNG of its pixels if it has none."""
    if image.is_encoded:
        return image.encoded()
    return codec.encode(image.pixels())


def image_extension(head: bytes) -> str:
    """Return the file extension, without the dot, for an encoded image that begins with ``head`` (12 bytes or more).

    Told from the content, because the name of a file may lie and bytes have none; ``bin`` for what is not known.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((extension for signature, extension in _SIGNATURES if head.startswith(signature)), "bin")


MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
"""Media types of portable images by extension."""

_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}


def portable_image(image: ImageRef) -> tuple[bytes, str]:
    """Return an image as encoded bytes with their file extension (``jpg``, ``png`` or ``webp``).

    The original bytes where every decoder agrees on them (``common_format``). Anything
    else (pixels, recipes, other formats, grey, CMYK, palettes, transparency, an EXIF orientation) becomes a PNG.

    Raises:
        ImageError: The image cannot be read; the message names it.
    """
    if image.is_encoded:
        data = image.encoded()
        if extension := _EXTENSIONS.get(codec.common_format(data)):
            return data, extension
    return codec.encode(image.pixels(), format="png"), "png"
