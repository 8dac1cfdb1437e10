"""What importing the package costs and does."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import deepeyes_env

HEAVY = ("torch", "ray", "transformers", "openai", "pyarrow", "rich", "typer", "math_verify", "simplejpeg", "mcp")


@pytest.mark.integration
def test_import_pulls_in_nothing_heavy():
    code = f"import sys, deepeyes_env; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


@pytest.mark.integration
def test_import_registers_the_environments():
    code = "import gymnasium, deepeyes_env; print(sorted(i for i in gymnasium.registry if 'VisualToolbox' in i))"
    ids = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [f"VisualToolbox-v{n}" in ids for n in range(1, 6)] == [True] * 5


LAYERS = (
    (
        "errors",
        "registry",
        "extras",
        "strict_json",
        "files",
        "json_lines",
        "output_folder",
        "plotting",
        "byte_cache",
        "single_flight",
        "core",
        "spaces",
        "images",
        "data",
        "sandbox",
    ),
    ("tools", "mcp", "protocols", "judges", "rewards"),
    ("conversation", "envs", "trajectories"),
    ("cli",),
    ("agents",),
    ("trainers",),
)
"""The arrows of the design: a module imports from its own row and the rows above it."""

LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
PACKAGE = Path(deepeyes_env.__file__).parent


def part_of(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "deepeyes_env" and len(parts) > 1 else None


def imported_modules(path):
    """What a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            if node.module == "deepeyes_env":
                yield from (f"deepeyes_env.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


FILES = sorted(Path(folder, name) for folder, _, names in os.walk(PACKAGE, followlinks=True) for name in names)
MODULES = [path for path in FILES if (path.suffix == ".py" and path.parent != PACKAGE) or path.stem in LEVEL]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imported_modules(path):
        imported = part_of(module)
        if imported in LEVEL:
            assert LEVEL[imported] <= LEVEL[part], f"{path.relative_to(PACKAGE)} imports {module}"
        else:
            assert module.split(".")[0] not in ("agents", "trainers"), f"{path.relative_to(PACKAGE)} imports {module}"
