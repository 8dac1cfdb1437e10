"""The wheel in environments of its own, away from the checkout."""

from __future__ import annotations

import json
import re
import shlex

import pytest

import deepeyes_env
from tests.packaging.building import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

EPISODE = """
import sys
import deepeyes_env
from deepeyes_env.agents import rollout

assert "site-packages" in deepeyes_env.__file__, deepeyes_env.__file__
(episode,) = rollout("VisualToolbox-v2", "oracle", episodes=1, num_envs=1).trajectories
print(episode.reward, len(episode.turns))
print([name for name in ("torch", "ray", "typer", "rich", "pyarrow") if name in sys.modules])
"""

BOTH = """
import agents
import deepeyes_env.agents
from agents import Agent, Runner
from deepeyes_env.agents.runner import rollout
from deepeyes_env.trainers import tracking

print(agents.__file__)
print(deepeyes_env.agents.__file__)
print(Agent(name="mine").name)
"""


def test_the_core_alone_plays_an_episode(core, tmp_path):
    assert "No broken requirements found" in core.pip("check")
    reward, turns, loaded = re.fullmatch(r"(\S+) (\d+)\n(.*)\n", run([core.python, "-c", EPISODE], tmp_path)).groups()
    assert (float(reward), int(turns), loaded) == (2.0, 2, "[]")


def test_the_command_that_is_named_brings_what_is_missing(core, tmp_path):
    missing = "import subprocess, sys; sys.exit(subprocess.run(['deepeyes', '--version']).returncode - 2)"
    said = core("python", "-c", missing, cwd=tmp_path)
    assert said.startswith("the deepeyes command needs typer and rich; run: ")
    run(["bash", "-c", said.partition("run: ")[2]], tmp_path, PATH=f"{core.folder / 'bin'}:/usr/bin:/bin")
    assert core("deepeyes", "--version", cwd=tmp_path) == f"deepeyes_env {deepeyes_env.__version__}\n"
    assert "VisualToolbox-v2" in core("deepeyes", "envs", cwd=tmp_path)
    assert shlex.split(said)[-1].startswith("deepeyes-env[cli] @ file:///")


@pytest.mark.parametrize("first", ["deepeyes-env", "openai-agents"])
def test_beside_the_package_whose_import_name_is_agents(beside_agents, built, tmp_path, first):
    environment, theirs = beside_agents
    wheels = {"deepeyes-env": built.wheel, "openai-agents": theirs}
    for name in sorted(wheels, key=lambda name: name != first):
        environment.pip("install", "--no-index", "--no-deps", wheels[name])
    assert "No broken requirements found" in environment.pip("check")
    their_file, our_file, agent = run([environment.python, "-c", BOTH], tmp_path).splitlines()
    assert their_file.endswith("site-packages/agents/__init__.py")
    assert our_file.endswith("site-packages/deepeyes_env/agents/__init__.py")
    assert agent == "mine"
    assert run([environment.python, "-c", EPISODE], tmp_path).startswith("2.0 2\n")
    environment.pip("uninstall", "--yes", first)
    (left,) = set(wheels) - {first}
    module = {"deepeyes-env": "deepeyes_env.agents.runner", "openai-agents": "agents"}[left]
    run([environment.python, "-c", f"import {module}"], tmp_path)


def test_training_and_a_rollout_away_from_the_checkout(training, tmp_path):
    assert "No broken requirements found" in training.pip("check")
    small = ("steps=1", "rollout.prompts=2", "rollout.group_size=2", "evaluation.samples=4")
    said = training("deepeyes", "train", "out=run", *small, cwd=tmp_path)
    assert "curves.png" in said
    assert (tmp_path / "run/checkpoints/step_000001/model.safetensors").stat().st_size > 1_000_000
    assert (tmp_path / "run/curves.png").is_file()
    training("deepeyes", "rollout", "--agent", "oracle", "--episodes", "3", "--out", "played", cwd=tmp_path)
    played = [json.loads(line) for line in (tmp_path / "played/trajectories.jsonl").read_text().splitlines()]
    assert [episode["reward"] for episode in played] == [2.0, 2.0, 2.0]
    assert training("deepeyes", "view", "played", cwd=tmp_path).strip().endswith("index.html")
