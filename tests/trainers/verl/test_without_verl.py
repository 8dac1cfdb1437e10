"""Nobody pays for verl who does not use it, and who has not got it is told what brings it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

MODULES = ("register", "agent_loop", "advantage", "trainer", "tool", "cpu.plugin", "cpu.rollout")

WITHOUT = """
import sys
sys.modules["verl"] = None  # as if it were not installed
from deepeyes_env.errors import MissingExtraError
try:
    import deepeyes_env.trainers.verl.{module}
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize("module", MODULES)
def test_a_missing_verl_is_one_sentence_with_the_extra(module):
    code = WITHOUT.replace("{module}", module)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert re.match(r"\w+ is (not )?installed", said)
    assert "[verl]" in said
    assert "\n" not in said


def test_the_trainers_import_no_verl():
    modules = "[m for m in ('verl', 'ray') if m in sys.modules]"
    code = f"import sys, deepeyes_env.trainers, deepeyes_env.trainers.verl; print({modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"
