"""Command lines, names and paths in README and docs are those of this version."""

import importlib
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from deepeyes_env.cli.app import COMMANDS, app
from deepeyes_env.errors import MissingExtraError
from tests.docs.pages import PAGES, ROOT, TUTORIALS, command_lines, spans_of

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
COMMAND = typer.main.get_command(app)
PLACES = ("agents/", "benchmarks/", "deepeyes_env/", "docs/", "examples/", "tests/", "trainers/")


def arguments_of(words):
    """Return the words after ``deepeyes``, or ``None`` for another command; ``NAME=VALUE`` may come first."""
    words = [*words]
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    return words[1:] if words[:1] == ["deepeyes"] else None


def check(arguments, *, complete):
    """Parse a command line without running it; one in a sentence may leave out arguments."""
    if not arguments or arguments[0].startswith("-"):
        return
    assert arguments[0] in COMMANDS, f"no such command: {arguments}"
    context = typer.main.get_command(app).make_context("deepeyes", ["--debug"], resilient_parsing=True)
    command = COMMAND.get_command(context, arguments[0])
    try:
        parsed = command.make_context(arguments[0], arguments[1:])
    except Exception as error:
        if complete or type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
            raise
        return
    if arguments[0] in ("train", "ablate"):
        from deepeyes_env.trainers.grpo.config import load_config

        preset = parsed.params.get("config")
        load_config(parsed.params["overrides"] or (), preset if str(preset) == "tiny" else None)


def test_there_are_command_lines_to_check():
    assert sum(arguments_of(words) is not None for page in PAGES for words in command_lines(page)) > 30
    assert all(any(arguments_of(words) for words in command_lines(page)) for page in TUTORIALS if page.name[0] != "4")


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_command_lines(page):
    for words in command_lines(page):
        arguments = arguments_of(words)
        if arguments is not None:
            check(arguments, complete=True)


@pytest.mark.slow
@pytest.mark.docs
@pytest.mark.parametrize(("page", "count"), [("docs/exports.md", 3), ("docs/trajectories.md", 2)])
def test_first_commands_of_a_page_run(page, count, tmp_path, monkeypatch):
    """Those that need nothing but one another."""
    monkeypatch.chdir(tmp_path)
    lines = [arguments for words in command_lines(ROOT / page) if (arguments := arguments_of(words))]
    for arguments in lines[:count]:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{arguments}: {result.output}"


@by_page
def test_commands_in_sentences(page):
    for span in spans_of(page):
        if span.startswith("deepeyes ") and not re.search(r"[.…]{2,}", span):
            check(span.split()[1:], complete=False)


@by_page
def test_make_targets_and_extras(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    setup = (ROOT / "setup.py").read_text()
    extras = set(re.findall(r"""^(?:    |EXTRAS\[)"([\w-]+)"(?:: |\] = )\[""", setup, re.MULTILINE)) | {"all"}
    text = page.read_text()
    for words in [*command_lines(page), *(span.split() for span in spans_of(page))]:
        if words[:1] == ["make"] and len(words) > 1:
            assert words[1] in targets, words
    for named in re.findall(r"(?:deepeyes-env|'\.)\[([\w,]+)\]", text):
        assert set(named.split(",")) <= extras, named


@by_page
def test_paths_in_the_text_exist(page):
    for span in spans_of(page):
        path = span.split()[0]
        if path.startswith(PLACES) and re.fullmatch(r"[\w./-]+", path):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


@by_page
def test_names_in_the_text_exist(page):
    for span in spans_of(page):
        dotted = re.match(r"deepeyes_env(?:\.\w+)+", span)
        if dotted:
            assert resolves(dotted[0]), f"{page.name}: {dotted[0]}"


def resolves(dotted):
    """Whether a dotted name can be imported, or is an attribute of what can."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        except MissingExtraError:
            return True  # it is there; the tests beside what it needs read its names
        for name in parts[cut:]:
            found = getattr(found, name, None)
        return found is not None
    return False


@by_page
def test_links_in_the_repository(page: Path):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\((?!\w+:)([^)#\s]+)", prose):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
