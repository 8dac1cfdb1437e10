"""What the benchmarks of slides and videos measure, but for time: memory, and the very pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def measured(name, folder):
    pytest.importorskip("psutil", reason="psutil (extra bench) is not installed")
    command = [sys.executable, str(BENCHMARKS / name), str(folder)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.timeout(1800)
def test_64_rollouts_zoom_into_ten_gigapixels_within_300_megabytes(tmp_path):
    (result,) = measured("slides.py", tmp_path)
    assert result["zooms"] == 64 * 4
    assert result["slide_bytes"] < 1e9
    assert result["rss_beyond_observations_mb"] < 300
    assert result["largest_mean_difference"] < 1  # from what the library reads


@pytest.mark.timeout(3600)
def test_every_frame_of_two_hours_is_exact_in_flat_memory(tmp_path):
    results = measured("videos.py", tmp_path)
    assert [each["key_frame_every_s"] for each in results] == [1, 20]
    assert [each["exact"] for each in results] == ["60 of 60"] * 2
    assert all(each["rss_growth_mb"] < 50 for each in results)
