"""A curation streams: what it holds in memory does not grow with the data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

pytest.importorskip("pyarrow", reason="needs the extra data")

import pyarrow
import pyarrow.parquet

from deepeyes_env import Sample
from deepeyes_env.agents.curation import LabelTable
from deepeyes_env.data.parquet_schema import arrow_schema, row_of_sample

ROOT = Path(__file__).parents[3]
GIB = 2**30
SIZE = (3840, 2160)
IMAGES = 8

CHILD = """
import sys
from deepeyes_env.cli.app import app
try:
    app(sys.argv[1:])
finally:
    sys.stdout.write(open("/proc/self/status").read())
"""


def bitmaps(folder):
    """Images of 4K as BMP: as many bytes encoded as decoded, and few in a compressed column."""
    cells = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE[1] // 120, SIZE[0] // 120, 3), dtype=np.uint8)
    for number in range(IMAGES):
        pixels = cells[number].repeat(120, axis=0).repeat(120, axis=1)
        path = folder / f"{number}.bmp"
        PILImage.fromarray(pixels).save(path)
        yield path.read_bytes()


def write_large_parquet(path, decoded_bytes):
    """Write questions about a few images, repeated; returns how many."""
    images = list(bitmaps(path.parent))
    count = -(-decoded_bytes // len(images[0]))
    schema = arrow_schema()
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False, write_batch_size=1
    ) as file:
        for start in range(0, count, IMAGES):
            samples = [
                Sample(
                    f"s{i}", f"How many boats has the {i}th picture?", "3", images[i % IMAGES], boxes=((9, 9, 99, 99),)
                )
                for i in range(start, min(count, start + IMAGES))
            ]
            rows = [row_of_sample(sample, start + i, Path()) for i, sample in enumerate(samples)]
            file.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
    return count


def peak_of(*arguments):
    """Run ``deepeyes`` in a process of its own; returns the most memory that it had, in bytes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    return int(re.search(r"VmHWM:\s+(\d+) kB", ended.stdout)[1]) * 1024


def peaks_of(path, out, kept):
    """The most memory of each step of a curation, by its name."""
    asked = ("--agent", "blind", "--k", "1", "--concurrency", "4", "--no-episodes")
    steps = {
        "format, label by rules": (path, "--stages", "format,label"),
        "label by a second model": (path, "--stages", "label", *asked),
        "difficulty": (path, "--stages", "difficulty", *asked),
        **{f"--keep, {each.suffix}": ("--keep", "open and near_image", "--write", each) for each in kept},
    }
    return {name: peak_of("curate", "--out", out, *arguments) for name, arguments in steps.items()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.timeout(3600)
def test_20_gb_are_labelled_and_kept_in_less_than_a_gibibyte(tmp_path):
    path, out = tmp_path / "large.parquet", tmp_path / "out"
    count = write_large_parquet(path, 20 * 10**9)
    assert path.stat().st_size < 300 * 10**6
    kept = (tmp_path / "kept.jsonl", tmp_path / "kept.parquet")
    peaks = peaks_of(path, out, kept)
    assert max(peaks.values()) < GIB, peaks
    table = LabelTable(out, count)
    assert not any(table.reasons(stage) for stage in ("format", "label", "difficulty"))
    assert len(table.values("agreement")) == count
    assert len(kept[0].read_text().splitlines()) == count - IMAGES
    assert pyarrow.parquet.ParquetFile(kept[1]).metadata.num_rows == count - IMAGES
