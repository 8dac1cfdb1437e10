"""Nobody pays for verl who does not use it, and who has not got it is told what brings it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

MODULES = ("register", "agent_loop", "advantage", "trainer", "tool", "cpu.plugin", "cpu.rollout")

WITHOUT = """
import importlib, json, sys
sys.modules["verl"] = None  # as if it were not installed
from deepeyes_env.errors import MissingExtraError
said = {}
for module in sys.argv[1:]:
    try:
        importlib.import_module(f"deepeyes_env.trainers.verl.{module}")
    except MissingExtraError as error:
        said[module] = str(error)
print(json.dumps(said))
"""


@pytest.mark.integration
def test_a_missing_verl_is_one_sentence_with_the_extra():
    command = [sys.executable, "-c", WITHOUT, *MODULES]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said.keys() == set(MODULES)
    for sentence in said.values():
        assert re.match(r"\w+ is (not )?installed", sentence)
        assert "[verl]" in sentence
        assert "\n" not in sentence


@pytest.mark.integration
def test_the_trainers_import_no_verl():
    modules = "[m for m in ('verl', 'ray') if m in sys.modules]"
    code = f"import sys, deepeyes_env.trainers, deepeyes_env.trainers.verl; print({modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == "[]"
