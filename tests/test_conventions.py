"""What holds for every file: of the packages, how it is written; of the tests, that they use what users may use."""

from __future__ import annotations

import ast
import builtins
import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 400
PACKAGES = ("deepeyes_env", "agents", "trainers")
FOREIGN = {
    "os._exit",  # how a forked child ends
    "Qwen2_5_VLForConditionalGeneration._from_config",  # how transformers makes a model without weights
    "usual._from_config",
    "model_class._from_config",
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


# --- what docstrings say is raised: the class that the code raises, not the built-in one above it ---------------------

ENTRY = re.compile(r"^ *((?:[\w.]+, )*[\w.]+): ", re.MULTILINE)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def every(module: ast.Module) -> Iterator[Definition]:
    return (node for node in ast.walk(module) if isinstance(node, Definition))


@functools.cache
def by_name(module: ast.Module) -> Mapping[str, list[Definition]]:
    found: dict[str, list[Definition]] = {}
    for node in every(module):
        found.setdefault(node.name, []).append(node)
    return found


def last(node: ast.expr) -> str:
    """``f`` of ``f``, ``a.b.f`` and ``a.b.f(...)``."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).rpartition(".")[2]


@functools.cache
def parents() -> Mapping[str, set[str]]:
    """Of every class, and of every function that makes an error, all classes that it derives from, and itself."""
    bases: dict[str, set[str]] = {}
    for path in files(*PACKAGES):
        for node in every(tree(path)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {last(base) for base in node.bases}
            elif node.returns is not None and ast.unparse(node.returns).endswith("Error"):
                bases.setdefault(node.name, set()).add(last(node.returns))

    def above(name: str) -> set[str]:
        kind = getattr(builtins, name, None)
        known = {each.__name__ for each in kind.__mro__} if isinstance(kind, type) else {name}
        return known.union(*map(above, bases.get(name, ())))

    return {name: above(name) for name in bases}


def body(node: Definition) -> list[ast.stmt]:
    """What runs when it is called: of a class, its ``__init__`` and ``__post_init__``."""
    if not isinstance(node, ast.ClassDef):
        return node.body
    return [each for each in node.body if getattr(each, "name", "") in ("__init__", "__post_init__")]


def raised(node: Definition, module: ast.Module) -> set[str]:
    """What a definition raises itself, and by functions of the same module."""
    found, seen, todo = set(), set(), [node]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for inner in (inner for statement in body(one) for inner in ast.walk(statement)):
            if isinstance(inner, ast.Raise) and inner.exc is not None:
                found.add(last(inner.exc))
            elif isinstance(inner, ast.Call):
                todo += by_name(module).get(last(inner), [])
    return found


def documented(node: Definition) -> set[str]:
    _, _, section = (ast.get_docstring(node) or "").partition("\nRaises:\n")
    return {name.rpartition(".")[2] for entry in ENTRY.findall(section) for name in entry.split(", ")}


def misnamed(node: Definition, module: ast.Module) -> set[str]:
    """The built-in errors that a docstring names where the code raises only errors of our own that derive from them."""
    named = documented(node)
    if not named & set(vars(builtins)):
        return set()
    kinds = [parents().get(name, {name}) for name in raised(node, module)]
    ours = [kind for kind in kinds if "DeepEyesError" in kind and not kind & named - set(vars(builtins))]
    return {
        name
        for name in named & set(vars(builtins))
        if any(name in kind for kind in ours) and not any(name in kind for kind in kinds if "DeepEyesError" not in kind)
    }


def test_docstrings_name_the_error_that_is_raised():
    found = [
        f"{at(path, node)} {node.name}: {', '.join(sorted(names))}"
        for path in files(*PACKAGES)
        for node in every(tree(path))
        if (names := misnamed(node, tree(path)))
    ]
    assert found == []


DOCUMENTED = '''
def outer():
    """Do it.

    Raises:
        {named}: It cannot be done.
    """
    inner()

def inner():
    raise {error}
'''


@pytest.mark.parametrize(
    ("named", "error", "wrong"),
    [
        ("ValueError", "UsageError('no')", True),
        ("ValueError", "errors.UsageError", True),
        ("LookupError", "UnknownNameError('no')", True),
        ("ValueError", "unknown_name('tool', name, ())", True),
        ("UsageError", "UnknownNameError('no')", False),
        ("OSError, UsageError", "UsageError('no')", False),
        ("ValueError", "ValueError('no')", False),
        ("OSError", "UsageError('no')", False),
    ],
)
def test_a_builtin_named_for_one_of_ours_is_found(named, error, wrong):
    module = ast.parse(DOCUMENTED.format(named=named, error=error))
    outer = next(every(module))
    assert bool(misnamed(outer, module)) == wrong


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
