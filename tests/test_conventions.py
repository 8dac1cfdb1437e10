"""What holds for every file: of the packages, how it is written; of the tests, that they use what users may use."""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
PACKAGES = ("deepeyes_env", "agents", "trainers")
FOREIGN = {
    "os._exit",  # how a forked child ends
    "Qwen2_5_VLForConditionalGeneration._from_config",  # how transformers makes a model without weights
}
"""Private by their names only: other libraries offer nothing else."""
BY_NAME = ("setattr", "getattr", "delattr", "hasattr")


def files(*folders: str) -> list[Path]:
    """All Python files below folders of the repository; symlinks are not followed."""
    return sorted(
        Path(folder, name)
        for top in folders
        for folder, _, names in os.walk(ROOT / top)
        for name in names
        if name.endswith(".py")
    )


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def at(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


# --- all files ---------------------------------------------------------------------------------------------------


def test_there_is_something_to_check():
    assert all(len(files(folder)) > 20 for folder in (*PACKAGES, "tests"))


def test_no_file_is_longer_than_a_reader_likes():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files(*PACKAGES, "tests")}
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MAX_LINES} == {}


def test_imports_are_absolute():
    found = [
        at(path, node)
        for path in files(*PACKAGES, "tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert found == []


# --- the packages ------------------------------------------------------------------------------------------------


def test_nothing_is_printed():
    found = [
        at(path, node)
        for path in files(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_the_terminal_is_written_to_in_one_place():
    """There, texts of strangers are made harmless."""
    found = [
        at(path, node)
        for path in files(*PACKAGES)
        if path.name != "terminal.py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("typer.echo", "typer.secho", "Console", "RichHandler")
    ]
    assert found == []


def test_loggers_are_called_logger():
    found = []
    for path in files(*PACKAGES):
        named = [node for node in tree(path).body if ast.unparse(node) == "logger = logging.getLogger(__name__)"]
        made = [
            node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and "getLogger" in ast.dump(node.func)
        ]
        found += [at(path, node) for node in made if node not in [each.value for each in named]]
    assert found == []


def definitions(body: list[ast.stmt], public: bool) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Functions and classes that need a docstring: public ones, and the public methods of private classes too."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            if public and not node.name.startswith("_"):
                yield node
            yield from definitions(node.body, public=True)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
            if public and not node.name.startswith("_") and not marks & {"overload", "setter"}:
                yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from definitions([*node.body, *node.orelse], public)


def test_what_is_public_has_a_docstring():
    found = [
        f"{at(path, node)} {node.name}"
        for path in files(*PACKAGES)
        for node in definitions(tree(path).body, public=True)
        if ast.get_docstring(node) is None
    ]
    assert found == []
    assert [str(path) for path in files(*PACKAGES) if ast.get_docstring(tree(path)) is None] == []


# --- the tests ---------------------------------------------------------------------------------------------------


def reaches(module: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Where a test reaches into what is private, and how."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and ast.unparse(node) not in FOREIGN:
                yield node, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "deepeyes_env":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node, name) for name in names if private(name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_NAME:
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            yield from ((node, text) for text in texts if private(text.rpartition(".")[2]))


def test_tests_use_what_is_public():
    assert [f"{at(path, node)} {how}" for path in files("tests") for node, how in reaches(tree(path))] == []


@pytest.mark.parametrize(
    "code",
    [
        "env._deaths = 3",
        "trainer.env._actors[0]",
        "from deepeyes_env.core import _frozen",
        "from deepeyes_env._private import thing",
        "monkeypatch.setattr(env, '_step', 1)",
        "monkeypatch.setattr('deepeyes_env.core._frozen', 1)",
    ],
)
def test_a_reach_into_private_parts_is_found(code):
    assert len(list(reaches(ast.parse(code)))) == 1
