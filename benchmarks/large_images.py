"""A JPEG and a PNG of 30,000 x 30,000 pixels: cut into tiles once, then zoomed into; time and resident memory.

``python benchmarks/large_images.py [FOLDER]`` writes the images (once) and prints one line of JSON for each. Each is
measured in a new process, and in another one that finds the tiles.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.sources import noisy_photo
from deepeyes_env.images import ImageRef, ImageStore, ViewBudget

SIDE, PHOTO, ZOOMS = 30_000, 3000, 100


def write(folder: Path) -> list[Path]:
    """Write a noisy photograph, repeated, in both formats."""
    paths = [folder / "large.jpg", folder / "large.png"]
    if not all(path.exists() for path in paths):
        import pyvips

        image = pyvips.Image.new_from_array(np.asarray(noisy_photo((PHOTO, PHOTO)))).copy(interpretation="srgb")
        image = image.replicate(SIDE // PHOTO, SIDE // PHOTO)
        image.jpegsave(paths[0], Q=90)
        image.pngsave(paths[1], compression=1)
    return paths


def boxes() -> list[tuple[int, int, int, int]]:
    """Return boxes at random places, of 500 to 10,000 pixels a side."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(ZOOMS):
        side = int(500 * 20 ** rng.random())
        x, y = rng.integers(0, SIDE - side, 2).tolist()
        found.append((x, y, x + side, y + side))
    return found


def measure(path: Path) -> None:
    """Look at an image and zoom into it, and print one line of JSON."""
    budget, store, image = ViewBudget(), ImageStore(), ImageRef.of(path)
    start = time.perf_counter()
    store.view(image, budget)
    first, times, cpus = time.perf_counter() - start, [], []
    for box in boxes():
        start, cpu = time.perf_counter(), time.process_time()
        store.part(image, box, budget)
        times.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
    mine, other = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result = {
        "first_view_s": round(first, 1),
        "cutting_cpu_s": round(other.ru_utime + other.ru_stime, 1),
        "cutting_peak_rss_mb": round(other.ru_maxrss * 1024 / 1e6),
        "peak_rss_mb": round(mine.ru_maxrss * 1024 / 1e6),
        "zoom_ms": round(statistics.median(times) * 1e3, 1),
        "zoom_cpu_ms": round(statistics.median(cpus) * 1e3, 1),
    }
    print(json.dumps(result))


def main(folder: Path) -> None:
    """Measure both images, without tiles and with them."""
    for path in write(folder):
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            for state in ("cut", "cut before"):
                command = [sys.executable, __file__, "--measure", str(path)]
                environment = {**os.environ, "DEEPEYES_CACHE": cache}
                said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
                tiles = sum(each.stat().st_size for each in Path(cache).rglob("*.tif"))
                result = {"image": path.name, "megabytes": round(path.stat().st_size / 1e6), "tiles": state}
                print(json.dumps({**result, "tiles_megabytes": round(tiles / 1e6), **json.loads(said)}))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        measure(Path(sys.argv[-1]))
    else:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
