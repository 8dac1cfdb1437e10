"""The process in which ``.pdfium`` runs PDFium; started by file name, speaks JSON lines and raw pixels.

First line out: ``null`` when ready, or a string that says what is wrong. Then for each line in

    {"file": [path, bytes, time of change], "page": 3, "seconds": 20.0, "draw": [place, size] or null}

one line out: ``{"error": text}``, or ``{"pages": 5}`` if there is no such page, or ``{"points": [width, height]}``.
After the last of these come the pixels that were asked for, three bytes each, row by row.

A page of nested forms keeps PDFium busy for hours within one call, where nothing can stop it but the end of the
process. So the process asks the system to end it at the deadline.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import sys
from importlib import import_module
from typing import Any

_OPEN_FILES = 8


@contextlib.contextmanager
def deadline(seconds: float) -> Any:
    """End this process if a block takes longer; a handler written in Python would have to wait for PDFium."""
    try:
        from signal import ITIMER_REAL, setitimer
    except ImportError:  # Windows
        yield
        return
    setitimer(ITIMER_REAL, seconds)
    try:
        yield
    finally:
        setitimer(ITIMER_REAL, 0)


def limit(memory: int) -> None:
    """Bound the address space of this process, where the system can, and let it leave no core behind."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


@functools.lru_cache(maxsize=_OPEN_FILES)
def opened(path: str, nbytes: int, changed: int) -> Any:
    """Open a document; what was written anew under its path is another one."""
    return import_module("pypdfium2").PdfDocument(path)


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return what is asked of a page: its size, and pixels or nothing."""
    document = opened(*request["file"])
    if not 1 <= request["page"] <= len(document):
        return {"pages": len(document)}, b""
    page = document[request["page"] - 1]
    try:
        return {"points": page.get_size()}, drawn(page, *request["draw"]) if request["draw"] else b""
    finally:
        page.close()


def drawn(page: Any, place: tuple[int, int, int, int], size: tuple[int, int]) -> Any:
    """Draw a page so that it would fill ``place`` (left, top, width, height), and keep what lies in ``size``."""
    raw, helpers = import_module("pypdfium2.raw"), import_module("pypdfium2")
    pixels = (ctypes.c_ubyte * (size[0] * size[1] * 3))()
    ctypes.memset(pixels, 255, len(pixels))
    bitmap = helpers.PdfBitmap.new_native(*size, raw.FPDFBitmap_BGR, rev_byteorder=True, buffer=pixels)
    flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER | raw.FPDF_RENDER_LIMITEDIMAGECACHE
    raw.FPDF_RenderPageBitmap(bitmap, page, *place, 0, flags)
    bitmap.close()
    return pixels


def main(memory: int) -> None:
    """Answer requests on standard input until it closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, meant for the process that it works for
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    try:
        import_module("pypdfium2")  # before memory is limited, and so that what is wrong is said at once
    except Exception as error:
        out.write(json.dumps(f"{type(error).__name__}: {error}").encode() + b"\n")
        out.flush()
        return
    limit(memory)
    out.write(b"null\n")
    out.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            with deadline(request["seconds"]):
                said, pixels = answer(request)
        except Exception as error:
            said, pixels = {"error": " ".join(str(error).split())[:200] or type(error).__name__}, b""
        out.write(json.dumps(said).encode() + b"\n")
        out.write(pixels)
        out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
