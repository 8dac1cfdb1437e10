"""One editable installation serves Python, pytest, mypy and pyright, at the root of the checkout and elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.extras import installation
from tests.environments import Recipe, environment
from tests.packaging.building import ROOT, copy_of_the_checkout, layer, run

USE = """\
from deepeyes_env.agents.runner import rollout
from deepeyes_env.trainers.tiny.scenes import SEED

size: str = SEED
reveal_type(rollout)
"""
"""An honest use of two modules, one from each linked folder, and a mistake in it."""

TEST = """\
from deepeyes_env.agents.runner import rollout
from deepeyes_env.trainers.grpo import stopping

def test_both_are_there():
    assert callable(rollout)
    assert stopping.__name__ == "deepeyes_env.trainers.grpo.stopping"
"""

PYRIGHT = Recipe("packaging-pyright", (("basedpyright==1.40.2",),))
"""pyright with a Node.js of its own; the package ``pyright`` downloads one from elsewhere."""


def user_of(folder: Path) -> Path:
    """Write a script and a test of someone who uses the package."""
    (folder / "use.py").write_text(USE, encoding="utf-8")
    (folder / "test_use.py").write_text(TEST, encoding="utf-8")
    return folder


def assert_mypy_follows(said: str) -> None:
    assert 'Incompatible types in assignment (expression has type "int", variable has type "str")' in said
    assert "-> deepeyes_env.agents.runner.Rollout" in said  # what is revealed
    assert "Found 1 error in 1 file" in said


def editable_here() -> bool:
    """Whether these tests run in an environment in which this checkout is installed, as ``make test`` does it."""
    installed = installation()
    told = json.loads((installed and installed.read_text("direct_url.json")) or "{}")
    return bool(told.get("dir_info", {}).get("editable")) and told["url"] == ROOT.as_uri()


@pytest.mark.integration
def test_this_environment_serves_python_and_mypy_elsewhere(tmp_path):
    if not editable_here():
        pytest.skip("this checkout is not installed here: pip install -e '.[test]'")
    user = user_of(tmp_path)
    where = "import deepeyes_env.agents; print(deepeyes_env.agents.__file__)"
    assert run([sys.executable, "-c", where], user).strip() == str(ROOT / "deepeyes_env/agents/__init__.py")
    # The settings and the cache of `make types`, so that it does not begin with numpy and torch again.
    settings = ("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache"))
    command = [sys.executable, "-m", "mypy", *settings, "use.py"]
    assert_mypy_follows(subprocess.run(command, cwd=user, capture_output=True, text=True).stdout)


@pytest.mark.integration
def test_a_folder_agents_in_the_working_directory_does_no_harm(tmp_path):
    for name in ("agents", "trainers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise RuntimeError('this is the folder {name} of the user')")
    code = """
import sys
sys.path.insert(0, "")
import deepeyes_env.agents, deepeyes_env.agents.runner, deepeyes_env.trainers
assert not {"agents", "trainers"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, env={"PYTHONPATH": str(ROOT)})


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_editable_installation_serves_all(tmp_path_factory):
    folder = tmp_path_factory.mktemp("editable")
    (folder / "checkout").mkdir()
    (folder / "user").mkdir()
    checkout, user = copy_of_the_checkout(folder / "checkout"), user_of(folder / "user")
    made = layer(folder / "environment")
    made.pip("install", "--no-deps", "--editable", checkout)
    pyright = environment(PYRIGHT, tmp_path_factory.getbasetemp()) / "bin" / "basedpyright"

    (checkout / "agents" / "brand_new.py").write_text("ANSWER: int = 1\n", encoding="utf-8")
    new = "import deepeyes_env.agents, deepeyes_env.agents.brand_new; print(deepeyes_env.agents.__file__)"
    for place in (checkout, user):
        assert run([made.python, "-c", new], place).strip() == str(checkout / "deepeyes_env/agents/__init__.py")
        said = run([made.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", user / "test_use.py"], place)
        assert "1 passed" in said
        mypy = [made.python, "-m", "mypy", "--strict", "--cache-dir", folder / "cache", user / "use.py"]
        assert_mypy_follows(subprocess.run(mypy, cwd=place, capture_output=True, text=True).stdout)
        command = [pyright, "--outputjson", "--pythonpath", made.python, user / "use.py"]
        found = json.loads(subprocess.run(command, cwd=place, capture_output=True, text=True).stdout)
        told = {each.get("rule", "revealed"): each["message"] for each in found["generalDiagnostics"]}
        assert "reportMissingImports" not in told
        assert 'is not assignable to declared type "str"' in told["reportAssignmentType"]
        assert "-> Rollout" in told["revealed"]
