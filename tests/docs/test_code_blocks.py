"""Every block of Python in README and docs runs as it is pasted, in a folder of its own, in a process of its own."""

import ast
import importlib
import importlib.util
import signal
import subprocess
import sys
import time

import pytest

from tests.docs.pages import PAGES, blocks_of

pytestmark = pytest.mark.docs
BLOCKS = [block for page in PAGES for block in blocks_of(page) if block.language == "python"]
QUICK = [block for block in BLOCKS if not block.note]
SLOW = [block for block in BLOCKS if block.note == "slow"]
NEEDY = [block for block in BLOCKS if block.needs]
WAITING = [block for block in BLOCKS if block.note == "interrupt"]


def test_every_block_is_run_by_one_of_these_tests():
    assert len(QUICK) > 25
    assert {block.where for block in (*QUICK, *SLOW, *NEEDY, *WAITING)} == {block.where for block in BLOCKS}


@pytest.mark.parametrize("block", QUICK, ids=lambda block: block.where)
def test_block(block, reader_folder, served, in_a_fork):
    status, log = in_a_fork(served(block.text), block.where, reader_folder(block.text))
    assert status == 0, log.read_text(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("block", SLOW, ids=lambda block: block.where)
def test_slow_block(block, reader_folder, served):
    folder = reader_folder(block.text)
    (folder / "block.py").write_text(served(block.text), encoding="utf-8")
    done = subprocess.run([sys.executable, "block.py"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", NEEDY, ids=lambda block: block.where)
def test_block_that_needs_a_package(block, reader_folder, in_a_fork):
    if block.needs == "trl" and importlib.util.find_spec("trl") is None:
        pytest.skip("trl, which the adapters to it import, has an environment of its own: tests/trl runs this block")
    for module, name in imported(block.text):
        assert hasattr(importlib.import_module(module), name), f"{block.where}: {module} has no {name}"
    if importlib.util.find_spec(block.needs) is None:
        pytest.skip(f"{block.needs} is not installed")
    status, log = in_a_fork(block.text, block.where, reader_folder(block.text))
    assert status == 0, log.read_text(errors="replace")


@pytest.mark.integration
@pytest.mark.parametrize("block", WAITING, ids=lambda block: block.where)
def test_block_that_waits_for_a_person(block, reader_folder):
    """It announces its address, and is stopped there as by Ctrl-C."""
    folder = reader_folder(block.text)
    with subprocess.Popen(
        [sys.executable, "-c", block.text], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
        assert "KeyboardInterrupt" in process.stderr.read()


def imported(text):
    """Yield module and name of each import from this package."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deepeyes_env"):
            yield from ((node.module, alias.name) for alias in node.names)
