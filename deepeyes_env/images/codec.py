"""Bytes to pixels and back: every image becomes ``uint8`` RGB here, once, and nothing else needs to know its mode."""

from __future__ import annotations

import io
import re
import struct
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import JpegImagePlugin

from deepeyes_env.errors import ImageError, UsageError
from deepeyes_env.images.frames import Size
from deepeyes_env.images.jpeg_bounds import MAX_SCANS, declares_too_much, has_too_many_scans
from deepeyes_env.images.png import encode_png, without_texts
from deepeyes_env.registry import unknown_name

Image: TypeAlias = NDArray[np.uint8]
"""Pixels of an image: an array of shape ``(height, width, 3)``, dtype ``uint8``, RGB."""

Chroma: TypeAlias = Literal["4:4:4", "4:2:0"]
"""Resolution of a JPEG's colours: that of its brightness, or half of it in both directions."""

MAX_PIXELS = 16384 * 12288
"""Largest image that is decoded, in pixels (201 million): a 200-megapixel phone photo passes, a bomb does not."""

# In the order in which they are tried. Formats without a signature would accept noise, and Pillow hands EPS to
# Ghostscript: neither belongs in front of files from strangers. HEIF is there once pillow-heif is registered.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM")

_JPEG = ("JPEG", "MPO")

_COMMON = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp"}

_UPRIGHT = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
_EXIF_ORIENTATION = 0x0112
_QUOTED = re.compile(r"""\bb'.*'|\bb".*\"""", re.DOTALL)
"""What decoders quote of a file in what they say."""

_LATE_EXIF = 2**18
"""A PNG may have its EXIF data (at most 64 KiB from any camera) behind the pixels: in the last so many bytes."""


def decode(data: bytes, *, name: str = "") -> Image:
    """Decode an encoded image to RGB; thread-safe.

    EXIF orientation is applied, transparency is laid on white, 16-bit samples keep their upper 8 bits, and of an
    animation the first frame is taken. See ``to_rgb_array`` for every mode.

    Args:
        data: A JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM file.
        name: How an error names the image.

    Returns:
        A read-only, contiguous ``(H, W, 3)`` ``uint8`` array.

    Raises:
        ImageError: The data is empty, truncated, damaged, no image, declares more than ``MAX_PIXELS`` pixels or many
            more than it holds, or is a JPEG of more than ``MAX_SCANS`` scans.
    """
    image, orientation = _open(data, name)
    if image.format in _JPEG and has_too_many_scans(data):
        raise _error(name, f"has more than {MAX_SCANS} scans, which take minutes to decode; write it again")
    try:
        pixels = _decode_jpeg(data, image) if orientation == 1 else None
        return _to_rgb(image, orientation) if pixels is None else pixels
    except MemoryError:
        raise
    except Exception as error:  # Decoders raise whatever a damaged file leads them to.
        reason = (
            f"cannot be decoded ({_without_bytes(error)}); the file is truncated or damaged, fetch or write it again"
        )
        raise _error(name, reason) from error


def read_size(data: bytes, *, name: str = "") -> Size:
    """Read ``(width, height)`` in pixels, after EXIF rotation, from the header: nothing is decoded.

    Args:
        data: As for ``decode``.
        name: How an error names the image.

    Raises:
        ImageError: The data is empty, has no readable header, or declares more than ``MAX_PIXELS`` pixels.
    """
    image, orientation = _open(data, name)
    width, height = image.size
    return (height, width) if orientation >= 5 else (width, height)


def common_format(data: bytes, *, grey: bool = False) -> str:
    """Return the format of a file that every decoder shows as ``decode`` does; empty for any other.

    Those are opaque, still RGB images as JPEG, PNG or WebP that are upright as they are: whether EXIF turns an image
    depends on who decodes it. Only the header is read.

    Args:
        data: A file, perhaps of another format or of none.
        grey: Whether a grey image passes too: to be set where the decoder is known to make it RGB.

    Returns:
        ``"jpeg"``, ``"png"``, ``"webp"`` or ``""``.
    """
    try:
        image, orientation = _open(data, "")
        # Of a JPEG with further pictures behind it (MPO) everybody sees the first.
        still = image.format == "MPO" or getattr(image, "n_frames", 1) == 1
        plain = image.mode in ("RGB", "L" if grey else "RGB") and not image.has_transparency_data
        plain = plain and without_texts(data) is data  # other readers refuse large texts
    except Exception:  # Whoever decodes it says what is wrong.
        return ""
    return _COMMON.get(image.format or "", "") if orientation == 1 and still and plain else ""


def to_rgb_array(image: PILImage.Image) -> Image:
    """Convert a PIL image of any mode to a read-only ``(H, W, 3)`` array.

    Transparency (an alpha channel, a transparent palette entry or colour) is laid on white, as ``qwen_vl_utils`` does.
    16-bit greys, and ``I`` clipped to 16 bits, keep their upper 8 bits; ``F`` is taken as 0 to 255. An image opened
    from a file is turned upright by its EXIF orientation; one made in memory is taken as it is.
    """
    image.load()
    return _to_rgb(image, orientation_of(image) if image.format else 1)


def as_rgb_array(array: NDArray[Any]) -> Image:
    """Check an array and make it a read-only ``(H, W, 3)`` one; RGBA is laid on white.

    An RGB array that nobody can write to is shared; any other is copied.

    Raises:
        UsageError: Not ``uint8``; not of shape ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; or empty.
    """
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise UsageError(
            f"cannot take an array of shape {array.shape}, dtype {array.dtype} for an image; "
            "pass uint8 values from 0 to 255 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not empty"
        )
    if channels == 4:
        return to_rgb_array(PILImage.fromarray(array))
    if channels == 1:
        return _freeze(np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2))
    return array if is_frozen(array) else _freeze(array.copy(order="C"))


def chroma_of(data: bytes) -> Chroma:
    """Return the resolution of a JPEG's colours; that of anything else is ``"4:4:4"``. Only the header is read."""
    try:
        halved = JpegImagePlugin.get_sampling(JpegImagePlugin.JpegImageFile(io.BytesIO(data))) == 2
    except Exception:  # Of another format, or damaged: whoever decodes it says so.
        return "4:4:4"
    return "4:2:0" if halved else "4:4:4"


def known_formats() -> tuple[str, ...]:
    """Return those of ``FORMATS`` that this Pillow reads."""
    PILImage.init()
    return tuple(format for format in FORMATS if format in PILImage.OPEN)


def encode(pixels: Image, format: Literal["png", "jpeg"] = "png", quality: int = 95, chroma: Chroma = "4:4:4") -> bytes:
    """Encode RGB pixels: PNG, lossless and compressed in haste, or JPEG.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``.
        format: ``"png"`` or ``"jpeg"``.
        quality: JPEG quality, 1 to 100.
        chroma: Resolution of a JPEG's colours.

    Raises:
        UnknownNameError: ``format`` is neither.
    """
    if format == "jpeg":
        try:
            import simplejpeg
        except ImportError:
            buffer = io.BytesIO()
            PILImage.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=chroma)
            return buffer.getvalue()
        sampling = chroma.replace(":", "")
        encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, "RGB", sampling)
        return encoded
    if format == "png":
        return encode_png(pixels)
    raise unknown_name("image format", format, ("jpeg", "png"))


def _error(name: str, reason: str) -> ImageError:
    return ImageError(f"image {name}: {reason}" if name else f"image: {reason}")


def _without_bytes(error: Exception) -> str:
    """Say what a decoder said, but for what it quotes of the file, which may be anybody's."""
    return _QUOTED.sub("...", str(error))


def _open(data: bytes, name: str) -> tuple[PILImage.Image, int]:
    """Read the header, check the size, and find the EXIF orientation."""
    if not data:
        raise _error(name, "is empty (0 bytes); fetch or write it again")
    try:
        image = _identify(without_texts(data))
    except Exception as error:
        raise _error(name, f"has a damaged header ({_without_bytes(error)}); fetch or write it again") from error
    if image is None:
        known = ", ".join(FORMATS)
        raise _error(name, f"is not an image; pass a file of a known format ({known})")
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _error(
            name,
            f"declares {width} x {height} pixels, more than the limit of {MAX_PIXELS} (a decompression bomb?); "
            "scale it down if it is genuine",
        )
    if image.format in _JPEG and declares_too_much(data, width * height):
        reason = f"declares {width} x {height} pixels, many more than its {len(data)} bytes hold"
        raise _error(name, f"{reason}; the file is truncated or damaged, fetch it again")
    if image.format == "PNG" and "exif" not in image.info and b"eXIf" in data[-_LATE_EXIF:]:
        try:
            image.load()  # Pillow sees what stands behind the pixels only then.
        except Exception as error:
            raise _error(
                name, f"cannot be decoded ({_without_bytes(error)}); the file is truncated or damaged"
            ) from error
    return image, orientation_of(image)


def _identify(data: bytes) -> PILImage.Image | None:
    """Open an image as ``PIL.Image.open`` does, without its own limit on size.

    That limit lies below today's largest photographs, warns from half of it on, and can only be changed for the whole
    process.
    """
    PILImage.preinit()
    for format in FORMATS:
        if format not in PILImage.OPEN:
            PILImage.init()
        factory, accept = PILImage.OPEN.get(format, (None, None))
        verdict = accept(data[:16]) if accept else False
        if isinstance(verdict, str):  # The format, in a Pillow built without it.
            raise ValueError(verdict)
        if not verdict or factory is None:
            continue
        try:
            return factory(io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            raise ValueError(f"{format}: {error}") from error
    return None


def orientation_of(image: PILImage.Image) -> int:
    """Return the EXIF orientation of an image, from 1 (upright) to 8; that of a TIFF is 1: Pillow turns it itself."""
    if image.format == "TIFF":
        return 1
    try:
        # A PNG's own getexif decodes the pixels in search of more.
        orientation = PILImage.Image.getexif(image).get(_EXIF_ORIENTATION, 1)
        return orientation if orientation in _UPRIGHT else 1
    except Exception:  # An image with damaged EXIF data is still an image.
        return 1


def _decode_jpeg(data: bytes, image: PILImage.Image) -> Image | None:
    """Decode an ordinary JPEG with simplejpeg, bit-identical to Pillow and quicker; ``None`` if it cannot be."""
    if image.format not in _JPEG or image.mode not in ("RGB", "L"):
        return None
    try:
        import simplejpeg

        return _freeze(simplejpeg.decode_jpeg(data, "RGB"))
    except Exception:  # Not installed, or stricter than Pillow: let Pillow read it or say what is wrong.
        return None


def _to_rgb(image: PILImage.Image, orientation: int) -> Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = _grey_8bit(image)
    if image.has_transparency_data:
        image = _on_white(image.convert("RGBA"))
    elif image.mode != "RGB":
        image = image.convert("RGB")
    if orientation != 1:
        image = image.transpose(_UPRIGHT[orientation])
    return _freeze(np.asarray(image))


def _grey_8bit(image: PILImage.Image) -> PILImage.Image:
    samples = np.asarray(image)
    if image.mode == "F":
        grey = np.rint(np.clip(np.nan_to_num(samples), 0, 255))
    elif image.mode == "I":
        grey = np.clip(samples, 0, 0xFFFF) >> 8
    else:
        grey = samples >> 8
    return PILImage.fromarray(grey.astype(np.uint8))


def _on_white(image: PILImage.Image) -> PILImage.Image:
    white = PILImage.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _freeze(array: Image) -> Image:
    array.flags.writeable = False
    return array


def is_frozen(array: NDArray[Any]) -> bool:
    """Whether neither the array nor one that it is a view of can be written to."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        if owner.flags.writeable:
            return False
        owner = owner.base
    return True
