"""Gymnasium's own tests of spaces, vector tools, wrappers and environments, with ours in place of its own.

They are not in its wheel: ``GYMNASIUM_SOURCE`` names a checkout of Gymnasium 1.4 with its ``tests`` folder.
"""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

SOURCE = "GYMNASIUM_SOURCE"
ROOT = Path(__file__).parents[2]
RUN = (
    "tests/spaces/test_spaces.py",
    "tests/spaces/test_utils.py",
    "tests/vector/utils",
    "tests/vector/test_vector_env.py",
    "tests/vector/test_autoreset_mode.py",
    "tests/wrappers/test_delay_observation.py",
    "tests/wrappers/test_frame_stack_observation.py",
    "tests/wrappers/test_passive_env_checker.py",
    "tests/envs/test_envs.py",
)
_NAMED = "it lists by class which spaces have no flat form, and knows Gymnasium's own only"
EXPECTED = {
    "tests.spaces.test_utils.test_flatten_space[text]": _NAMED,
    "tests.spaces.test_utils.test_flatten_space[short text]": _NAMED,
    "tests.spaces.test_utils.test_flatten_space[image]": _NAMED,
    "tests.spaces.test_utils.test_flatten[text]": _NAMED,
    "tests.spaces.test_utils.test_flatten[short text]": _NAMED,
    "tests.spaces.test_utils.test_flatten[image]": _NAMED,
}
"""Tests that must fail, each with the reason."""

logger = logging.getLogger(__name__)


def patched(text, before, after):
    """Lengthen a list that stands beside one of spaces."""
    assert text.count(before) == 1, f"Gymnasium's tests have changed: {before!r} is not there once"
    return text.replace(before, after)


@pytest.fixture
def copy_of_tests(tmp_path):
    source = os.environ.get(SOURCE)
    if not source:
        pytest.skip(f"{SOURCE} names no checkout of github.com/Farama-Foundation/Gymnasium (CONTRIBUTING.md)")
    shutil.copytree(Path(source) / "tests", tmp_path / "tests")
    for name, ending, more in (
        ("test_utils", "]\nassert len(TESTING_SPACES) ==", "FLAT_DIMENSIONS"),
        ("test_spaces", "]\nassert len(SPACE_CLS) ==", "MADE_WITH"),
    ):
        path = tmp_path / "tests" / "spaces" / f"{name}.py"
        text = path.read_text(encoding="utf-8")
        path.write_text(patched(text, ending, f'*__import__("gymnasium_plugin").{more},\n{ending}'), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_gymnasiums_own_tests(copy_of_tests):
    report = copy_of_tests / "report.xml"
    paths = [copy_of_tests, Path(__file__).parent, ROOT, *sys.path]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "gymnasium_plugin", "-p", "no:cacheprovider", "--tb=line"]
    ran = subprocess.run(
        [*command, "-W", "ignore::DeprecationWarning", f"--junitxml={report}", *RUN],
        cwd=copy_of_tests,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert report.is_file(), ran.stdout[-3000:] + ran.stderr[-3000:]
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = {f"{case.get('classname')}.{case.get('name')}" for case in cases if _failed(case)}
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(failed) - skipped
    logger.warning("Gymnasium's own tests: %d passed, %d failed, %d skipped", passed, len(failed), skipped)
    assert failed == set(EXPECTED), ran.stdout[-6000:]
    assert len(cases) > 400


def _failed(case):
    return case.find("failure") is not None or case.find("error") is not None
