"""Regions of a page of a PDF: time beside PDFium's own drawing in this process, and what the first one takes.

``python benchmarks/documents.py`` prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.sources import document_page
from deepeyes_env.images.sources.documents import Page

SHOWN, REGIONS = (896, 896), 200


def write_page(path: Path) -> None:
    """Write a page with two plots, axes and their text, and a scan of a page of text at 150 dpi."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(8.27, 11.69))
    rng = np.random.default_rng(0)
    axes[0].plot(rng.normal(size=(400, 4)).cumsum(axis=0))
    axes[1].scatter(*rng.normal(size=(2, 500)), s=4)
    axes[2].imshow(np.asarray(document_page((1240, 580))))
    figure.savefig(path)


def boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Return square regions of 100 to 1,000 native pixels a side."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(REGIONS):
        side = int(100 * 10 ** rng.random())
        x, y = rng.integers(0, (size[0] - side, size[1] - side)).tolist()
        found.append((x, y, x + side, y + side))
    return found


def main() -> None:
    """Measure both by turns, region by region, and print one line of JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.pdf"
        write_page(path)
        page = Page(path)
        start = time.perf_counter()
        page.read((0, 0, *page.size), SHOWN)
        first = time.perf_counter() - start
        library = pdfium.PdfDocument(path)
        ours, theirs = [], []
        for box in boxes(page.size):
            start = time.perf_counter()
            page.read(box, SHOWN)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            _draw(library, box)
            theirs.append(time.perf_counter() - start)
    result = {
        "first_ms": round(first * 1e3, 1),
        "region_ms": round(statistics.median(ours) * 1e3, 2),
        "pdfium_ms": round(statistics.median(theirs) * 1e3, 2),
        "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 2),
    }
    print(json.dumps(result))


def _draw(document: pdfium.PdfDocument, box: tuple[int, int, int, int]) -> np.ndarray:
    """Draw a region with the library alone, as its users do: page, scale and crop."""
    page = document[0]
    width, height = (2 * side for side in page.get_size())  # 144 dpi
    scale = SHOWN[0] / (box[2] - box[0])
    crop = [each / 2 for each in (box[0], height - box[3], width - box[2], box[1])]
    pixels = page.render(scale=2 * scale, crop=[max(0, each) for each in crop], rev_byteorder=True).to_numpy()
    page.close()
    return pixels


if __name__ == "__main__":
    main()
