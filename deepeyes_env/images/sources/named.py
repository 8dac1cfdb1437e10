"""What a path means: a picture that is decoded whole, or a file that is read part by part."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl

from deepeyes_env.errors import ImageError
from deepeyes_env.images.sources import documents, large, slides, videos
from deepeyes_env.images.sources.documents import Page
from deepeyes_env.images.sources.large import LargeImage
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.images.sources.slides import Slide
from deepeyes_env.images.sources.videos import Frame
from deepeyes_env.telling import quoted

_TIFF = (".tif", ".tiff")


def split_fragment(path: Path) -> tuple[Path, str]:
    """Split ``report.pdf#page=3`` into path and fragment; the name of any other file is left whole."""
    name, mark, fragment = path.name.rpartition("#")
    if not mark or Path(name).suffix.lower() not in (*documents.SUFFIXES, *videos.SUFFIXES):
        return path, ""
    return path.with_name(name), fragment


def source_of(path: Path, fragment: str = "") -> Path | RegionSource:
    """Return what the pixels of a path come from.

    Told from the ending, and of TIFF, JPEG and PNG from the header. The fragment of a PDF is ``page=NUMBER``, from
    1 as in RFC 8118, and ``dpi=NUMBER``; that of a video is ``t=SECONDS`` as in W3C's media fragments.

    Returns:
        The path itself, if the image is decoded whole.

    Raises:
        ImageError: The fragment says something else.
    """
    if not fragment:
        path, fragment = split_fragment(path)
    suffix = path.suffix.lower()
    if suffix in documents.SUFFIXES:
        page, dpi = _numbers(path, fragment, page=1, dpi=documents.DPI)
        if not 1 <= dpi <= documents.MAX_DPI:
            raise ImageError(f"image {path}: dpi={dpi} is not from 1 to {documents.MAX_DPI}")
        return Page(path, page, dpi)
    if suffix in videos.SUFFIXES:
        return Frame(path, _seconds(path, fragment))
    if suffix in slides.SUFFIXES or (suffix in _TIFF and slides.is_large_tiled(path)):
        return Slide(path)
    if suffix in large.SUFFIXES and large.is_large(path):
        return LargeImage(path)
    return path


def _seconds(path: Path, fragment: str) -> float:
    found = re.fullmatch(r"t=(?:npt:)?(\d{1,9}(?:\.\d{1,30})?(?:e-\d{1,3})?)", fragment or "t=0")
    if found is None:
        raise ImageError(f"image {path}: {quoted(fragment)} is not t=SECONDS")
    return float(found[1])


def _numbers(path: Path, fragment: str, **defaults: int) -> list[int]:
    """Read whole numbers by name."""
    found = dict(defaults)
    try:
        for name, value in parse_qsl(fragment, keep_blank_values=True, strict_parsing=bool(fragment)):
            if name not in found:
                raise ValueError
            found[name] = int(value)
    except ValueError as error:
        known = " or ".join(f"{name}=NUMBER" for name in defaults)
        raise ImageError(f"image {path}: {quoted(fragment)} is not {known}") from error
    return list(found.values())


def relative_name(source: RegionSource, folder: Path) -> str:
    """Return how a data file in a folder names a source: the inverse of ``source_of``.

    Raises:
        ImageError: It has no address.
    """
    path, fragment = source.address
    if not path:
        raise ImageError(f"image {type(source).__name__}: has no address that could be written; give it one (address)")
    name = os.path.relpath(path, folder)
    return f"{name}#{fragment}" if fragment else name
