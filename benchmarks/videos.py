"""Frames of two-hour videos at random times: time beside PyAV's own seek and decode, exactness and resident memory.

``python benchmarks/videos.py [FOLDER]`` writes the videos (once) and prints one line of JSON for each.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from video_files import number_of, write_video

from deepeyes_env.images.sources.videos import Frame

HOURS, RATE, FRAMES = 2, Fraction(24), 60


def main(folder: Path) -> None:
    """Measure videos with a key frame every second and every 20 seconds."""
    for key_seconds in (1, 20):
        path = folder / f"two_hours_{key_seconds}.mp4"
        if not path.exists():
            write_video(path, int(HOURS * 3600 * RATE), RATE, int(key_seconds * RATE))
        numbers = np.random.default_rng(0).integers(0, int(HOURS * 3600 * RATE), FRAMES).tolist()
        container = av.open(str(path))
        process, ours, theirs, exact = psutil.Process(), [], [], 0
        Frame(path, 0.0).render()
        before, peak = process.memory_info().rss, 0
        for number in numbers:
            seconds = float(number / RATE)
            start = time.perf_counter()
            pixels = Frame(path, seconds).render()
            ours.append(time.perf_counter() - start)
            exact += number_of(pixels) == number
            start = time.perf_counter()
            _seek(container, seconds)
            theirs.append(time.perf_counter() - start)
            peak = max(peak, process.memory_info().rss - before)
        result = {
            "key_frame_every_s": key_seconds,
            "frame_ms": round(statistics.median(ours) * 1e3, 2),
            "pyav_ms": round(statistics.median(theirs) * 1e3, 2),
            "exact": f"{exact} of {FRAMES}",
            "rss_growth_mb": round(peak / 1e6, 1),
        }
        result["ratio"] = round(result["frame_ms"] / result["pyav_ms"], 2)
        print(json.dumps(result))


def _seek(container: av.container.InputContainer, seconds: float) -> np.ndarray:
    stream = container.streams.video[0]
    wanted = round(seconds / float(stream.time_base))
    container.seek(wanted, stream=stream)
    for frame in container.decode(stream):
        if frame.pts >= wanted:
            return frame.to_ndarray(format="rgb24")
    raise ValueError(seconds)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
