"""Pages of PDF files, drawn anew for every part and scale; extra ``documents``."""

from __future__ import annotations

import ctypes
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.errors import ImageError
from deepeyes_env.extras import import_extra
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.sources.region_source import MAX_WHOLE, RegionSource
from deepeyes_env.images.sources.source_files import Stamp, content_key, shared_handle, unreadable

EXTRA = "documents"

SUFFIXES = (".pdf",)

DPI = 144
"""Native pixels to the inch, unless the name of a page says ``dpi=``: two to a point."""

MAX_DPI = 4800

_POINTS = 72
_MAX_SIDE = 14400 * MAX_DPI // _POINTS
"""Longest side in native pixels: 200 inches, the most that PDF allows, at the finest scale."""
MAX_SECONDS = 20.0
"""How long one part may take to draw: a page of a real document takes well under a second.

PDFium asks between the objects of a page only.
"""
_LOCK = threading.Lock()
"""PDFium is not thread-safe, not even with a document for each thread."""


@dataclass(frozen=True, slots=True)
class Page(RegionSource):
    """A page of a PDF file.

    Attributes:
        path: The file.
        page: Number of the page, from 1.
        dpi: Native pixels to the inch: the scale in which boxes are counted. A zoom is drawn in as many pixels as it is
            shown in, be they more or less.
    """

    path: Path
    page: int = 1
    dpi: int = DPI

    @property
    def key(self) -> str:
        """Its kind, a name by content of the file (see ``content_key``), page and scale."""
        return f"page {content_key(Stamp.of(self.path))} {self.page} {self.dpi}"

    @property
    def size(self) -> Size:
        """``(width, height)`` of the page at its ``dpi``, rounded up to whole pixels."""
        with _LOCK:
            page = self._loaded()
            points = page.get_size()
            page.close()
        if not all(0 < side * self.dpi / _POINTS < _MAX_SIDE for side in points):
            raise unreadable(self.path, f"page {self.page} has {points[0]:g} x {points[1]:g} points")
        width, height = (math.ceil(side * self.dpi / _POINTS - 1e-3) for side in points)
        return (width, height)

    @property
    def address(self) -> tuple[str, str]:
        """Path of the file, and ``page=NUMBER&dpi=NUMBER``."""
        return (str(self.path), f"page={self.page}&dpi={self.dpi}")

    def read(self, box: PixelBox, size: Size) -> Image:
        """Draw a part in ``size``; see ``RegionSource.read``."""
        if size[0] * size[1] > MAX_WHOLE:
            raise ImageError(f"image {self.path}: a part of {size[0]} x {size[1]} pixels is too large to be drawn")
        x1, y1, x2, y2 = box
        across, down = size[0] / (x2 - x1), size[1] / (y2 - y1)
        width, height = self.size
        place = (round(-x1 * across), round(-y1 * down), round(width * across), round(height * down))
        with _LOCK:
            page = self._loaded()
            try:
                return _draw(page, place, size)
            except TimeoutError as error:
                said = f"page {self.page} takes more than {MAX_SECONDS:g} s to draw"
                raise ImageError(f"image {self.path}: {said}") from error
            finally:
                page.close()

    def _loaded(self) -> Any:
        document = _opened(Stamp.of(self.path))
        if not 1 <= self.page <= len(document):
            raise ImageError(f"image {self.path}: has no page {self.page}; it has pages 1 to {len(document)}")
        try:
            return document[self.page - 1]
        except Exception as error:
            raise unreadable(self.path, error) from error


@shared_handle
def _opened(stamp: Stamp) -> Any:
    """Open a document; the caller holds the lock."""
    pdfium = import_extra("pypdfium2", EXTRA)
    try:
        return pdfium.PdfDocument(stamp.path)
    except Exception as error:
        raise unreadable(stamp.path, error) from error


def _draw(page: Any, place: tuple[int, int, int, int], size: Size) -> Image:
    """Draw a page so that it would fill ``place`` (left, top, width, height), and keep what lies in ``size``."""
    pdfium = import_extra("pypdfium2", EXTRA)
    raw = import_extra("pypdfium2.raw", EXTRA)
    bitmap = pdfium.PdfBitmap.new_native(*size, raw.FPDFBitmap_BGR, rev_byteorder=True)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, *size)
    end = time.monotonic() + MAX_SECONDS
    pause = raw.IFSDK_PAUSE(version=1)
    asked = type(pause.NeedToPauseNow)(lambda _: time.monotonic() > end)
    pause.NeedToPauseNow = asked
    flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER | raw.FPDF_RENDER_LIMITEDIMAGECACHE
    try:
        state = raw.FPDF_RenderPageBitmap_Start(bitmap, page, *place, 0, flags, ctypes.byref(pause))
    finally:
        raw.FPDF_RenderPage_Close(page)
    if state == raw.FPDF_RENDER_TOBECONTINUED:
        raise TimeoutError
    pixels: Image = bitmap.to_numpy().copy()
    pixels.flags.writeable = False
    bitmap.close()
    return pixels
