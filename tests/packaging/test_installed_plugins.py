"""A package that is installed and declares a plugin is found, by name and on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]

PLUGIN = '''
"""Registers an agent, a rubric and a toolbox."""

from deepeyes_env import Rubric, Term, register_toolbox
from deepeyes_env.agents import BlindAgent, register_agent
from deepeyes_env.rewards import register_rubric


@register_agent("guesser")
class Guesser(BlindAgent):
    """Answers without looking."""

    name = "guesser"


register_rubric("nothing", Rubric([Term("nothing", lambda evidence: 0.0)]))
register_toolbox("TheirToolbox-v0", tools=["image_zoom_in_tool"], rubric="nothing")
'''


@pytest.fixture
def installed(tmp_path):
    """Runs Python with a package installed that declares a plugin; a broken one is installed too."""
    site = tmp_path / "site"
    for name, text in (("their_package", PLUGIN), ("broken_package", "raise RuntimeError('broken')\n")):
        record = site / f"{name}-1.0.dist-info"
        record.mkdir(parents=True)
        (site / f"{name}.py").write_text(text, encoding="utf-8")
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (record / "entry_points.txt").write_text(f"[deepeyes_env.plugins]\n{name} = {name}\n", encoding="utf-8")

    def python(*arguments):
        path = os.pathsep.join([str(site), str(ROOT)])
        command = [sys.executable, *arguments]
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return python


def test_by_name(installed):
    code = """
from deepeyes_env.agents import AGENTS, make_agent
from deepeyes_env.rewards import get_rubric

print(make_agent("guesser").name, "guesser" in AGENTS.names(), get_rubric("nothing"))
"""
    done = installed("-c", code)
    assert done.stdout.startswith("guesser True "), done.stderr


def test_one_that_is_broken_is_named_and_left_out(installed):
    done = installed("-c", "from deepeyes_env.agents import AGENTS; print(*AGENTS)")
    assert "guesser" in done.stdout.split()
    assert "the plugin broken_package (broken_package) could not be loaded" in done.stderr
    assert "RuntimeError: broken" in done.stderr


def test_on_the_command_line(installed):
    listed = installed("-m", "deepeyes_env.cli", "envs")
    assert "TheirToolbox-v0" in listed.stdout, listed.stderr
    assert "could not be loaded: RuntimeError: broken" in " ".join(listed.stderr.split())
    assert "Traceback" not in listed.stderr
    arguments = ("--agent", "guesser", "--env", "TheirToolbox-v0", "--episodes", "2")
    played = installed("-m", "deepeyes_env.cli", "rollout", *arguments)
    assert played.returncode == 0, played.stderr
    assert "guesser" in played.stdout
