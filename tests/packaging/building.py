"""Wheel and sdist of this checkout, and environments that they are installed in."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "deepeyes_env"
BUILT_FROM = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "constraints.txt", "LICENSE"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"),
)
MADE_BY_RUNNING = shutil.ignore_patterns("__pycache__", ".*")


def setup_script() -> ModuleType:
    """Return setup.py as a module: what it knows, without a build."""
    spec = importlib.util.spec_from_file_location("deepeyes_env_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files_of_the_checkout() -> list[str]:
    """Return all files of the three folders, as the package has them."""
    return sorted(_files(PACKAGE))


def _files(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        yield from ((Path(place) / name).relative_to(ROOT).as_posix() for name in names if not name.startswith("."))


def copy_of_the_checkout(folder: Path) -> Path:
    """Copy what packages are built from, so that no build leaves or finds anything in the checkout."""
    for name in ("deepeyes_env", "agents", "trainers"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=MADE_BY_RUNNING)
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, folder)
    return folder


def pinned(needs: Sequence[str]) -> tuple[str, ...]:
    """Return requirements at the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {_normal(line.partition("==")[0]): line for line in lines if "==" in line}
    return tuple(pins[_normal(re.split(r"[<>=\[]", need)[0])] for need in needs)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def run(command: Sequence[str | Path], cwd: Path, **environment: str) -> str:
    """Run a command away from the checkout; returns what it wrote, and fails with it if it fails."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "MYPYPATH")}
    ran = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )
    assert ran.returncode == 0, f"{command}: exit status {ran.returncode}\n{ran.stdout}"
    return ran.stdout


@dataclass(frozen=True)
class Environment:
    """An environment of one's own on top of another, whose packages it sees and does not change."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def pip(self, *arguments: str | Path) -> str:
        """Run its pip."""
        return run([self.python, "-m", "pip", "--disable-pip-version-check", *arguments], self.folder)

    def __call__(self, program: str, *arguments: str | Path, cwd: Path) -> str:
        """Run one of its programs as one who has activated it does."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return run([self.folder / "bin" / program, *arguments], cwd, PATH=path)


def layer(folder: Path, below: Path | None = None) -> Environment:
    """Make an environment on top of another one, by default of that of these tests; it uses the pip of that one."""
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder.parent)
    made = Environment(folder)
    seen = "import sys; print(*(path for path in sys.path if path.endswith('-packages')), sep='\\n')"
    own = Path(run([made.python, "-c", seen], folder).splitlines()[-1])
    beneath = run([sys.executable if below is None else below / "bin" / "python", "-c", seen], folder)
    (own / "below.pth").write_text(beneath, encoding="utf-8")
    return made
