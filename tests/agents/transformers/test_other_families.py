"""InternVL and SmolVLM, whose processors need torchvision: played in a process that finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.servers.real_servers import SITE

ROOT = Path(__file__).parents[3]
PACKAGES = ("torchvision==0.28.0", "num2words==0.5.14", "docopt==0.6.2")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_their_own_processors_play_them(tmp_path):
    """Beside this environment's torch; the build for CUDA that a registry may have only is made importable there."""
    beside = tmp_path / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(beside), *PACKAGES]
    ran = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
    if ran.returncode:
        pytest.skip(f"torchvision cannot be installed: {ran.stderr.strip()[-300:]}")
    path = os.pathsep.join((str(SITE), str(beside), str(ROOT)))
    command = [sys.executable, "-m", "tests.agents.transformers.other_families", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.split("\n")[:2] == ["internvl played 3", "smolvlm played 3"]
