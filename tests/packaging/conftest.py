"""Fixtures of the packaging tests: what is built is built once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.environments import Recipe, environment
from tests.packaging.building import Environment, copy_of_the_checkout, layer, pinned, run, setup_script

OPENAI_AGENTS = "openai-agents==0.24.0"
"""Its import name is ``agents``."""


@dataclass(frozen=True)
class Built:
    """What a build of this checkout makes.

    Attributes:
        wheel: The wheel, built from the checkout.
        sdist: The source distribution.
        wheel_of_sdist: The wheel that pip builds from the source distribution.
    """

    wheel: Path
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Wheel and sdist; builds are isolated, so that setuptools is downloaded."""
    pytest.importorskip("build", reason="needs the package build: pip install -e '.[test]'")
    folder = tmp_path_factory.mktemp("build")
    source = folder / "checkout"
    source.mkdir()
    copy_of_the_checkout(source)
    run([sys.executable, "-m", "build", "--wheel", "--sdist", "--outdir", folder / "dist", source], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder / "again", sdist], folder)
    (again,) = (folder / "again").glob("*.whl")
    return Built(wheel, sdist, again)


@pytest.fixture
def core(built: Built, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and what it cannot do without, and nothing else."""
    recipe = Recipe("packaging-core", (pinned(setup_script().CORE),))
    return with_wheel(recipe, built, tmp_path, tmp_path_factory)


@pytest.fixture
def beside_agents(built: Built, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """An environment with what the wheel and openai-agents need, but neither of them; and openai-agents' wheel."""
    recipe = Recipe(
        "packaging-beside-agents",
        (pinned(setup_script().CORE), (*pinned(["openai", "pydantic"]), OPENAI_AGENTS)),
        removes=("openai-agents",),
    )
    made = layer(tmp_path / "environment", environment(recipe, tmp_path_factory.getbasetemp()))
    try:
        made.pip("download", "--quiet", "--no-deps", "--dest", tmp_path / "agents", OPENAI_AGENTS)
    except AssertionError as error:
        pytest.skip(f"openai-agents cannot be downloaded: {error}")
    (wheel,) = (tmp_path / "agents").glob("*.whl")
    return made, wheel


@pytest.fixture
def training(built: Built, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and its extra ``train``."""
    setup = setup_script()
    recipe = Recipe("packaging-train", (pinned(["torch"]), pinned([*setup.CORE, *setup.EXTRAS["train"]])))
    return with_wheel(recipe, built, tmp_path, tmp_path_factory, extras="[train]")


def with_wheel(
    recipe: Recipe, built: Built, tmp_path: Path, temporary: pytest.TempPathFactory, extras: str = ""
) -> Environment:
    """Install the wheel on top of an environment that has what it needs; an index is not asked."""
    made = layer(tmp_path / "environment", environment(recipe, temporary.getbasetemp()))
    made.pip("install", "--no-index", f"{built.wheel}{extras}")
    return made
