"""Environments of their own for tests that need other packages than these tests run with.

They stay in the folder that ``DEEPEYES_TEST_CACHE`` names and are used again; without it they are made in a temporary
folder, anew each time.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = "DEEPEYES_TEST_CACHE"
PATIENCE = 1500

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How an environment is made.

    Attributes:
        name: Name of its folder.
        installs: Arguments of one ``pip install`` after another. torch comes first and alone: a resolver that sees it
            among other packages may choose a build with CUDA.
        removes: Packages to take out again: what was built for CUDA and fails to load is worse than nothing.
    """

    name: str
    installs: tuple[tuple[str, ...], ...]
    removes: tuple[str, ...] = ()


def environment(recipe: Recipe, temporary: Path) -> Path:
    """Return the folder of an environment, made if it is not there; skips the test if it cannot be made."""
    cache = os.environ.get(CACHE)
    folder = (Path(cache) if cache else temporary) / recipe.name
    done = folder / "made-by.txt"
    if done.is_file() and done.read_text(encoding="utf-8") == repr(recipe):
        return folder
    began = time.perf_counter()
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip"]
    # Most modules of torch are never imported: compiling them all takes longer than the rest of its installation.
    quietly = ("--quiet", "--disable-pip-version-check", "--no-compile")
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        *([*pip, "install", *quietly, *packages] for packages in recipe.installs),
        *([*pip, "uninstall", "--quiet", "--yes", package] for package in recipe.removes),
    ]
    for step in steps:
        try:
            ran = subprocess.run(step, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"{' '.join(step)} took more than {PATIENCE} s")
        if ran.returncode:
            pytest.skip(f"{' '.join(step)} failed: {ran.stderr.strip()[-500:]}")
    done.write_text(repr(recipe), encoding="utf-8")
    logger.warning("made %s in %.0f s", folder, time.perf_counter() - began)
    return folder
