"""What the name of an image stands for: a path, a ``file://`` URL or a data URL. Nothing is ever fetched."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from deepeyes_env.errors import ImageError
from deepeyes_env.telling import quoted

_SCHEME = re.compile(r"(data|file|https?|ftp|s3|gs|hf):", re.IGNORECASE)


MAX_PATH = 4096
"""Characters of a path, as most systems have it."""


def named_image(name: str) -> Path | bytes:
    """Return the path that a name is, or the encoded bytes that it holds.

    Raises:
        ImageError: It is a URL of another machine, a data URL that holds no base64, or too long for a path.
    """
    found = _SCHEME.match(name)
    scheme = found[1].lower() if found else ""
    if scheme == "data":
        return _data(name)
    if scheme == "file":
        parts = urlsplit(name)
        if parts.netloc in ("", "localhost"):
            return Path(unquote(parts.path))
    if scheme and (scheme == "file" or name[len(scheme) + 1 :].startswith("//")):
        raise ImageError(f"image {quoted(name)} is on another machine; nothing is fetched: download it, give its path")
    if len(name) > MAX_PATH:
        raise ImageError(
            f"image {quoted(name)} is no path, it has {len(name)} characters; base64 is written as "
            "data:image/png;base64,..."
        )
    return Path(name)


def image_base64(text: str | bytes) -> bytes:
    """Return the bytes of an image in base64; line breaks and blanks in it do not matter.

    Raises:
        ImageError: It is not base64.
    """
    try:
        return base64.b64decode(b"".join((text.encode() if isinstance(text, str) else text).split()), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ImageError(f"image {quoted(text)} is not base64: {error}") from error


def _data(url: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma:
        raise ImageError(f"image {quoted(url)} is a data URL without a comma")
    return image_base64(unquote(body)) if head.lower().endswith(";base64") else unquote_to_bytes(body)
