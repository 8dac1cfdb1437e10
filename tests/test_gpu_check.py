"""benchmarks/gpu_check.py runs through on a CPU; what it finds on a GPU is for a machine that has one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu_check.py"


@pytest.mark.slow
def test_the_check_runs_on_a_cpu(tmp_path):
    out = tmp_path / "check.json"
    command = [sys.executable, str(SCRIPT), "--tiny", "--steps", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [report[name].get("error") for name in ("repeats", "steps", "memory", "kernels")] == [None] * 4
    assert report["repeats"]["ok"]
    assert report["steps"]["ok"]
    assert report["kernels"]["ok"]
    assert any("flash_attention_for_cpu" in name for name in report["kernels"]["kernels"])
    assert report["memory"]["planned"]["policy update"] > 4 * report["steps"]["parameters"]
