"""64 rollouts zoom four times into a slide of ten gigapixels: time beside the library's own reads, resident memory.

``python benchmarks/slides.py [FOLDER]`` writes the slide (once) and prints one line of JSON. A zoom is a whole step of
an environment; the library reads the same box at the same level right after it.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import openslide
import psutil
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from slide_files import Level, jpeg_tile, write_slide

from benchmarks.sources import noisy_photo
from deepeyes_env import Sample, ViewBudget, VisualToolboxEnv
from deepeyes_env.envs.looking import look_at
from deepeyes_env.images.frames import to_pixels
from deepeyes_env.images.regions import Region

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


def boxes(rollout: int) -> list[tuple[int, int, int, int]]:
    """Return the boxes of a rollout, each somewhere within the one before, of some 25,000 to 500 pixels a side."""
    rng = np.random.default_rng(rollout)
    found, outer = [], (0, 0, SIDE, SIDE)
    for _ in range(ZOOMS):
        side = int((outer[2] - outer[0]) * rng.uniform(0.2, 0.34))
        x, y = (int(rng.integers(low, low + outer[2] - outer[0] - side)) for low in outer[:2])
        outer = (x, y, x + side, y + side)
        found.append(outer)
    return found


def main(folder: Path) -> None:
    """Measure, and print one line of JSON."""
    path = folder / "ten_gigapixels.tif"
    start = time.perf_counter()
    if not path.exists():
        write_gigapixels(path)
    written = time.perf_counter() - start
    sample = Sample("slide", "Where?", "here", path)
    library = openslide.OpenSlide(path)
    process, budget = psutil.Process(), ViewBudget()
    before, peak = process.memory_info().rss, 0
    options = {"view": budget, "rubric": None, "max_turns": ZOOMS + 2}
    rollouts = [VisualToolboxEnv("VisualToolboxMiniO3-v0", [sample], **options) for _ in range(ROLLOUTS)]
    shown = [rollout.reset(seed=0)[0]["images"][0] for rollout in rollouts]
    ours, theirs, apart = [], [], 0.0
    for turn in range(ZOOMS):
        for number, rollout in enumerate(rollouts):
            call = look_at(rollout.trajectory, Region(0, boxes(number)[turn]), digits=17)
            start = time.perf_counter()
            observation, *_, info = rollout.step(call)
            ours.append(time.perf_counter() - start)
            (result,) = info["calls"]
            assert result.ok, result.error
            shown += observation["images"]
            box = to_pixels(result.look.box)
            start = time.perf_counter()
            alone = _openslide(library, box, budget.fit((box[2] - box[0], box[3] - box[1])))
            theirs.append(time.perf_counter() - start)
            apart = max(apart, _apart(shown[-1], alone))
            held = sum({id(each): each.nbytes for each in shown}.values())
            peak = max(peak, process.memory_info().rss - before - held)
    result = {
        "slide_bytes": path.stat().st_size,
        "written_s": round(written, 1),
        "zooms": len(ours),
        "observations_mb": round(held / 1e6),
        "rss_beyond_observations_mb": round(peak / 1e6),
        "zoom_ms": round(statistics.median(ours) * 1e3, 1),
        "openslide_ms": round(statistics.median(theirs) * 1e3, 1),
        "ratio": round(statistics.median(ours) / statistics.median(theirs), 2),
        "largest_mean_difference": round(apart, 2),
    }
    print(json.dumps(result))


def _openslide(slide: openslide.OpenSlide, box: tuple[int, ...], shown: tuple[int, int]) -> Image.Image:
    """Read a box with the library alone, at the level and size that it would take."""
    level = slide.get_best_level_for_downsample(max(1.0, (box[2] - box[0]) / shown[0]))
    scale = slide.level_downsamples[level]
    size = (round((box[2] - box[0]) / scale), round((box[3] - box[1]) / scale))
    return slide.read_region(box[:2], level, size)


def _apart(shown: np.ndarray, alone: Image.Image) -> float:
    """Return the mean difference of a view from the library's pixels in the same size."""
    size = (shown.shape[1], shown.shape[0])
    other = np.asarray(alone.convert("RGB").resize(size, Image.Resampling.BICUBIC), int)
    return float(np.abs(shown - other).mean())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
