"""What importing the package costs and does."""

import subprocess
import sys

HEAVY = ("torch", "ray", "transformers", "openai", "pyarrow", "rich", "typer", "math_verify", "simplejpeg")


def test_import_pulls_in_nothing_heavy():
    code = f"import sys, deepeyes_env; print([m for m in {HEAVY} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"


def test_import_registers_the_environments():
    code = "import gymnasium, deepeyes_env; print(sorted(i for i in gymnasium.registry if 'VisualToolbox' in i))"
    ids = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [f"VisualToolbox-v{n}" in ids for n in range(1, 6)] == [True] * 5


def test_every_module_imports_only_what_stands_left_of_it():
    """The arrows of the design: core, spaces, images, data <- tools, protocols, judges, rewards <- envs <- ..."""
    import ast
    from pathlib import Path

    import deepeyes_env

    root = Path(deepeyes_env.__file__).parent
    level = {
        "core": 0,
        "names": 0,
        "spaces": 0,
        "images": 0,
        "data": 0,
        "tools": 1,
        "protocols": 1,
        "judges": 1,
        "rewards": 1,
    }
    level |= {"envs": 2, "trajectories": 3, "cli": 5}
    for path in root.rglob("*.py"):
        part = path.relative_to(root).parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("deepeyes_env."):
                imported = node.module.split(".")[1]
                assert level[imported] <= level[part], f"{path.relative_to(root)} imports {node.module}"
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("agents", "trainers"):
                assert part == "cli", f"{path.relative_to(root)} imports {node.module}"
