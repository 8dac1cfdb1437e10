"""The tutorials run, hold what they claim, and are as short and quiet as they say."""

import ast
import resource
import subprocess
import sys

import pytest

from tests.docs.pages import TUTORIALS

CPU_SECONDS = 30
LINES = 20

by_tutorial = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def test_there_are_five():
    assert [path.name[0] for path in TUTORIALS] == ["1", "2", "3", "4", "5"]


@by_tutorial
def test_form(path):
    """A title, text between the cells, and assertions of what the text claims."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # ")
    assert text.count("# %% [markdown]") >= 5
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text))) >= 5


@pytest.mark.slow
@pytest.mark.docs
@pytest.mark.timeout(300)
@by_tutorial
def test_tutorial(path, tmp_path):
    before = cpu_time()
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= LINES
    assert cpu_time() - before < CPU_SECONDS


def cpu_time():
    """Seconds of processor time that all children so far have taken: what others do on this machine does not count."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
