"""Our environments in TRL: the checks beside this file with TRL 1.12, and with the newest TRL and transformers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deepeyes_env import extras
from tests.environments import Recipe, environment

ROOT = Path(__file__).parents[2]
CHECKS = [
    Path(__file__).with_name(name)
    for name in ("checks.py", "sft_checks.py", "conformance_checks.py", "faults_checks.py")
]
NAMES = [
    node.name
    for file in CHECKS
    for node in ast.parse(file.read_text("utf-8")).body
    if getattr(node, "name", "").startswith("test_")
]
TORCH = ("--constraint", str(ROOT / "constraints.txt"), "torch")
OURS = ("cloudpickle", "docstring-parser", "gymnasium", "pydantic", "pillow", "numpy", "simplejpeg", "pyyaml", "ray")
COMMANDS = ("typer", "rich", "matplotlib", "tensorboard")
TESTS = ("pytest", "pytest-timeout")
TRAINING = ("trl", "transformers", "peft", "jmespath", "accelerate", "datasets")
QWEN = ("--no-deps", "dashscope==1.14.1")
"""Brings Qwen's tokenizer."""

RECIPES = (
    Recipe(
        "trl-1.12",
        (TORCH, ("--constraint", str(ROOT / "constraints.txt"), *TRAINING, *OURS, *COMMANDS, *TESTS), QWEN),
    ),
    Recipe("trl-newest", (TORCH, ("torch==2.13.0", *TRAINING, *OURS, *COMMANDS, *TESTS), QWEN)),
)


def run(recipe, temporary):
    """Run all checks in an environment; returns the outcome of each by name: an empty text, or what went wrong."""
    folder = environment(recipe, temporary)
    report = temporary / f"{recipe.name}.xml"
    ran = subprocess.run(
        [
            *(str(folder / "bin" / "python"), "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider"),
            *("-W", "ignore", "--timeout", "900", f"--junitxml={report}", *map(str, CHECKS)),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DEEPEYES_REALISTIC": str(folder / "realistic"),
            "TRL_EXPERIMENTAL_SILENCE": "1",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=2000,
    )
    assert report.is_file(), ran.stdout[-3000:] + ran.stderr[-3000:]
    outcomes = {name: [] for name in NAMES}
    for case in ElementTree.parse(report).iter("testcase"):
        told = [(part.tag, part.text or part.get("message") or part.tag) for part in case if part.tag != "system-out"]
        told = [each for each in told if each[0] in ("failure", "error", "skipped")]
        outcomes[case.get("name").partition("[")[0]].append(told)
    return outcomes


@pytest.fixture(scope="module", params=RECIPES, ids=lambda recipe: recipe.name)
def outcomes(request, tmp_path_factory):
    return run(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.mark.slow
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("name", NAMES)
def test_with_trl(outcomes, name):
    assert outcomes[name], "the check was not run"
    for told in outcomes[name]:
        for kind, text in told:
            if kind == "skipped":
                pytest.skip(text)
            pytest.fail(text[-4000:])


@pytest.mark.integration
def test_without_trl_one_sentence_names_the_extra():
    code = (
        "import sys; sys.modules['trl'] = None\n"
        "import deepeyes_env.trainers\n"
        "from deepeyes_env.errors import MissingExtraError\n"
        "try:\n    import deepeyes_env.trainers.trl\nexcept MissingExtraError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.count("\n") == 1
    assert "trl" in said
    assert said.strip().endswith(extras.install_command("trl").rpartition("install ")[2])


@pytest.mark.integration
def test_trainers_do_not_import_trl():
    code = "import sys, deepeyes_env.trainers; print('trl' in sys.modules, 'datasets' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert said.split() == ["False", "False"]


@pytest.mark.integration
def test_the_command_without_trl_says_what_to_install():
    code = "import sys; sys.modules['trl'] = None\nfrom deepeyes_env.cli import main\nmain()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "train-trl", "--dry-run"], capture_output=True, text=True, cwd=ROOT
    )
    assert ran.returncode == 1
    assert extras.install_command("trl").rpartition("install ")[2] in ran.stderr
