"""Zooms into a slide of ten gigapixels: time beside the library's own reads, and resident memory.

``python benchmarks/slides.py [FOLDER]`` writes the slide (once) and prints one line of JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from slide_files import Level, jpeg_tile, write_slide

from benchmarks.sources import noisy_photo
from deepeyes_env.images import ImageRef, ImageStore, ViewBudget

SIDE, TILE, MARK = 100_000, 512, 97
ROLLOUTS, ZOOMS = 64, 4


def write_gigapixels(path: Path) -> None:
    """Write a slide of 100,000 x 100,000 pixels: 36 tiles, repeated, and every so often one with a mark of its own."""
    photo = np.asarray(noisy_photo((6 * TILE, 6 * TILE)))
    pool = [
        photo[y : y + TILE, x : x + TILE]
        for y in range(0, photo.shape[0], TILE)
        for x in range(0, photo.shape[1], TILE)
    ]
    encoded = [jpeg_tile(each) for each in pool]

    def tile(column: int, row: int) -> bytes:
        number = column * 31 + row * 17
        if number % 997:
            return encoded[number % len(encoded)]
        marked = pool[number % len(pool)].copy()
        marked[:MARK, :MARK] = (column % 256, row % 256, 255)
        return jpeg_tile(marked)

    sides = [SIDE // 2**step for step in range(7)]
    write_slide(path, [Level((side, side), tile if side == SIDE else _plain(encoded)) for side in sides], TILE)


def _plain(encoded: list[bytes]):
    return lambda column, row: encoded[(column * 31 + row * 17) % len(encoded)]


def boxes(count: int) -> list[tuple[int, int, int, int]]:
    """Return boxes at random places, of 500 to 30,000 pixels a side."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        side = int(500 * 60 ** rng.random())
        x, y = rng.integers(0, SIDE - side, 2).tolist()
        found.append((x, y, x + side, y + side))
    return found


def main(folder: Path) -> None:
    """Measure, and print one line of JSON."""
    path = folder / "ten_gigapixels.tif"
    start = time.perf_counter()
    if not path.exists():
        write_gigapixels(path)
    written = time.perf_counter() - start
    budget = ViewBudget()
    process = psutil.Process()
    store = ImageStore()
    before = process.memory_info().rss
    view = store.view(ImageRef.of(path), budget)
    held, times, peak = [view], [], 0
    for box in boxes(ROLLOUTS * ZOOMS):
        image = ImageRef.of(path)  # each rollout has read its own sample
        start = time.perf_counter()
        held.append(store.part(image, box, budget))
        times.append(time.perf_counter() - start)
        peak = max(peak, process.memory_info().rss - before - sum(each.nbytes for each in held))
    ours = statistics.median(times)
    result = {
        "slide_bytes": path.stat().st_size,
        "written_s": round(written, 1),
        "rss_beyond_observations_mb": round(peak / 1e6),
        "zoom_ms": round(ours * 1e3, 1),
        "openslide_ms": round(_openslide(path) * 1e3, 1),
    }
    result["ratio"] = round(result["zoom_ms"] / result["openslide_ms"], 2)
    print(json.dumps(result))


def _openslide(path: Path) -> float:
    """Return the median time of the library's own read of the same boxes, at the level and size that it would take."""
    import openslide

    slide, times = openslide.OpenSlide(path), []
    for x1, y1, x2, y2 in boxes(ROLLOUTS * ZOOMS):
        shown = ViewBudget().fit((x2 - x1, y2 - y1))
        start = time.perf_counter()
        level = slide.get_best_level_for_downsample(max(1.0, (x2 - x1) / shown[0]))
        scale = slide.level_downsamples[level]
        slide.read_region((x1, y1), level, (round((x2 - x1) / scale), round((y2 - y1) / scale)))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
