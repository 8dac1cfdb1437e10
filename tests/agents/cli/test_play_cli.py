"""``deepeyes play`` as a program."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from deepeyes_env.trajectories import read_trajectories

ROOT = Path(__file__).parents[2]
PROGRAM = "import typer; from deepeyes_env.agents.cli.play import play; typer.run(play)"


@pytest.fixture
def started(tmp_path):
    """A program that plays three short episodes, and the address of its page."""
    command = [sys.executable, "-c", PROGRAM, "--episodes", "3", "--frame", "norm1000", "--no-browser"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as program:
        first, second = program.stdout.readline(), program.stdout.readline()
        assert first.startswith("play at http://127.0.0.1:"), program.stderr.read()
        assert second == f"recording in {tmp_path / 'run'}; Ctrl-C stops, the same command resumes\n"
        yield program, first.split()[-1]
        program.kill()


def ask(url, form=None):
    data = None if form is None else json.dumps(form).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=30) as answer:
        return json.load(answer)


def answered(url):
    """Answer one episode."""
    state = ask(url + "state")
    while state["phase"] == "working":
        state = ask(url + "state")
    return ask(url + "say", {"version": state["version"], "thought": "", "answer": "A"})


@pytest.mark.integration
def test_it_prints_the_address_and_then_the_result(started, tmp_path):
    program, url = started
    state = answered(url)
    assert state["outcome"]["terms"]
    ask(url + "stop", {})
    said, errors = program.communicate(timeout=30)
    assert (program.returncode, errors) == (0, "")
    assert "human on VisualToolbox-v2" in said
    (episode,) = read_trajectories(tmp_path / "run")
    assert episode.frame == "norm1000"


@pytest.mark.integration
def test_ctrl_c_keeps_what_is_played(started, tmp_path):
    program, url = started
    answered(url)
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 130
    assert errors == f"stopped; the same command plays what {tmp_path / 'run'} lacks\n"
    assert len(list(read_trajectories(tmp_path / "run"))) == 1
