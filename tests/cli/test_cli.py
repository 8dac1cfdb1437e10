"""The ``deepeyes`` command."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deepeyes_env.cli.app import app
from deepeyes_env.data import load
from deepeyes_env.errors import UnknownNameError
from deepeyes_env.extras import install_command
from deepeyes_env.trajectories import read_trajectories

ROOT = Path(__file__).parents[2]


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(output):
    """The rows of the table that a rollout prints."""
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in output.splitlines()[1:] if "  " in line.strip())


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    assert deepeyes("rollout", "--agent", "noisy", "--episodes", 10, "--out", folder).exit_code == 0
    return folder


# --- rollout -----------------------------------------------------------------------------------------------------


def test_rollout_prints_the_table(tmp_path):
    result = deepeyes("rollout", "--env", "VisualToolbox-v2", "--episodes", 12, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert result.stdout.splitlines()[0].strip() == "oracle on VisualToolbox-v2"
    assert (table["episodes"], table["accuracy"], table["reward"]) == ("12", "1.000", "2.000")
    assert (table["acc"], table["format"], table["tool"]) == ("0.800", "0.000", "1.200")
    assert (table["failed calls"], table["ended by"]) == ("none", "answer 12")
    assert float(table["IoU of the best zoom box"]) > 0.5
    assert float(table["turns per episode"]) == pytest.approx(float(table["tool calls per episode"]) + 1)
    assert len(list(read_trajectories(tmp_path / "run"))) == 12


@pytest.mark.integration
def test_rollout_names_failed_calls_by_reason():
    table = rows(deepeyes("rollout", "--agent", "random", "--episodes", 60).stdout)
    assert re.search(r"bad_arguments \d+", table["failed calls"])
    assert re.search(r"format_error \d+", table["ended by"])


def test_rollout_options_reach_the_environment(tmp_path):
    options = ("--seed", 5, "--max-turns", 2, "--rubric", "none", "--max-pixels", 50176, "--in-order", "--num-envs", 3)
    result = deepeyes("rollout", "--episodes", 4, "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)["accuracy"] == "-"
    for number, trajectory in enumerate(sorted(read_trajectories(tmp_path / "run"), key=lambda t: t.sample.id)):
        assert trajectory.sample.id == f"visual_search/train/0/{number}"
        assert trajectory.metadata["seed"] == 5 + number
        assert len(trajectory.turns) == 2
        assert trajectory.view_size[0] * trajectory.view_size[1] <= 50176


@pytest.mark.integration
def test_rollout_refuses_to_mix_runs_then_resumes_or_overwrites(run_folder):
    refused = deepeyes("rollout", "--agent", "noisy", "--episodes", 12, "--out", run_folder)
    assert refused.exit_code == 1
    assert "holds a run" in refused.stderr
    assert deepeyes("rollout", "--agent", "noisy", "--episodes", 12, "--out", run_folder, "--resume").exit_code == 0
    assert len(list(read_trajectories(run_folder))) == 12
    assert deepeyes("rollout", "--agent", "blind", "--episodes", 3, "--out", run_folder, "--overwrite").exit_code == 0
    assert len(list(read_trajectories(run_folder))) == 3


def test_rollout_reports_failed_episodes(tmp_path):
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    lines = [{"id": n, "question": "?", "answer": "yes", "images": [f"{n}.png"]} for n in ("good", "bad")]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = ("--data", tmp_path / "data.jsonl", "--in-order", "--episodes", 2)
    result = deepeyes("rollout", *data, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert rows(result.stdout)["episodes"] == "1"
    assert "1 of 2 episodes failed" in result.stderr
    assert "--resume plays them again" in result.stderr
    assert "bad" in result.stderr


# --- the other commands ------------------------------------------------------------------------------------------


def test_view_writes_the_page_and_prints_its_path(run_folder, tmp_path):
    result = deepeyes("view", run_folder)
    assert (result.exit_code, result.stdout.strip()) == (0, str(run_folder / "index.html"))
    elsewhere = deepeyes("view", run_folder, "--out", tmp_path / "page")
    assert Path(elsewhere.stdout.strip()).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_view_takes_the_file_of_trajectories_for_its_folder(run_folder):
    result = deepeyes("view", run_folder / "trajectories.jsonl")
    assert (result.exit_code, result.stdout.strip()) == (0, str(run_folder / "index.html"))
    refused = deepeyes("view", run_folder, "--out", run_folder / "run.json")
    assert (refused.exit_code, "run.json' is a file; name a folder" in refused.stderr) == (1, True)


def test_photos_become_a_data_set_that_can_be_played(tmp_path):
    photograph = pytest.importorskip("skimage.data").astronaut()
    (tmp_path / "photos").mkdir()
    Image.fromarray(photograph).resize((1200, 1200)).save(tmp_path / "photos" / "astronaut.jpg")
    options = ("--samples-per-photo", 3, "--max-pixels", 100352, "--easy", 0)
    result = deepeyes("photos", tmp_path / "photos", tmp_path / "planted.parquet", *options)
    assert result.exit_code == 0, result.output
    assert "3 questions" in result.stdout
    assert len(load(tmp_path / "planted.parquet")) == 3
    again = deepeyes("photos", tmp_path / "photos", tmp_path / "planted.parquet", "--samples-per-photo", 1)
    assert "exists; give another file or --overwrite" in again.stderr
    assert len(load(tmp_path / "planted.parquet")) == 3
    other = (tmp_path / "photos", tmp_path / "other.parquet", "--samples-per-photo", 1)
    assert deepeyes("photos", *other).exit_code == deepeyes("photos", *other, "--overwrite").exit_code == 0
    command = result.stdout.replace("\n", " ").partition("deepeyes ")[2].split()
    played = deepeyes(*command, "--episodes", 3, "--in-order")
    assert rows(played.stdout)["accuracy"] == "1.000"


def test_envs_lists_every_environment(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # what other tests registered may have long names, which leave less for calls
    result = deepeyes("envs")
    assert result.exit_code == 0
    assert {f"VisualToolbox-v{n}" for n in range(1, 6)} <= set(result.stdout.split())
    assert "image_zoom_in_tool" in result.stdout
    assert result.stdout.count("[56, 56, 168, 168]") >= 5  # calls are shown with arguments


@pytest.mark.parametrize(
    "command",
    [
        "rollout",
        "view",
        "photos",
        "judge",
        "envs",
        "sandbox",
        "play",
        "eval",
        "compare",
        "export",
        "train",
        "train-trl",
        "train-verl",
        "sft",
        "ablate",
        "build-tiny",
    ],
)
def test_every_command_has_help(command):
    assert deepeyes(command, "--help").exit_code == 0
    assert command in deepeyes("--help").stdout


# --- what goes wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rollout", "--agent", "orcale"], "unknown agent 'orcale'; did you mean 'oracle'? known: "),
        (["rolout"], "unknown command 'rolout'; did you mean 'rollout'? known: ablate, "),
        (["rollout", "--backend", "rays", "--episodes", "1"], "unknown backend 'rays'; did you mean 'ray'? known: "),
        (["rollout", "--env", "VisualToolbox-v9"], "provides versioned environments"),
        (["rollout", "--rubric", "deepeye"], "unknown rubric 'deepeye'"),
        (["rollout", "--data", "none.parquet"], "none.parquet"),
        (["rollout", "--max-pixels", "9"], "--max-pixels 9: must be at least 784"),
        (["view", "nowhere"], "no such file"),
        (["rollout", "--data", ""], "--data: is empty; give it a value, or leave it out"),
        (["rollout", "--out="], "--out: is empty; give it a value, or leave it out"),
        (["view", ""], "an argument after view: is empty"),
        (["rollout", "--plugin", ""], "--plugin: is empty"),
        (["rollout", "--out", "/dev/null/x"], "/dev/null/x: cannot be written to (Not a directory); give another"),
        (["export", "nowhere", "--out", "/dev/null/x"], "'/dev/null' is a file; name a folder"),
        (["rollout", "--plugin", "."], "plugin '.': is no name of a module"),
        (["photos", "nowhere", "out.parquet"], "nowhere"),
        (["photos", ".", "out.jpg"], "out.jpg: is a parquet file to be; give it a name that ends in .parquet"),
    ],
)
def test_a_users_mistake_is_one_line_with_the_remedy(arguments, message):
    result = deepeyes(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_debug_shows_the_traceback():
    result = deepeyes("--debug", "rollout", "--agent", "orcale")
    assert isinstance(result.exception, UnknownNameError)


@pytest.mark.parametrize("options", [["--resume", "--overwrite"], ["--resume"], ["--episodes", "0"]])
def test_options_that_make_no_sense_are_refused(options):
    assert deepeyes("rollout", *options).exit_code == 2


@pytest.mark.integration
def test_it_runs_as_a_program(tmp_path):
    command = [sys.executable, "-m", "deepeyes_env.cli", "rollout", "--agent", "blind", "--episodes", "5"]
    ended = subprocess.run([*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert rows(ended.stdout)["episodes"] == "5"


WAITING = """
import time
from pathlib import Path
from deepeyes_env.agents import OracleAgent, register_agent

@register_agent("waiting")
class Waiting(OracleAgent):
    name = "waiting"

    def act(self, episodes):
        while any(episode.metadata["episode"] > 4 for episode in episodes) and not Path({gate!r}).exists():
            time.sleep(0.05)
        return super().act(episodes)
"""


@pytest.mark.integration
def test_an_interrupted_rollout_is_resumed(tmp_path):
    gate, plugin = tmp_path / "gate", tmp_path / "waiting_agent.py"
    plugin.write_text(WAITING.format(gate=str(gate)), encoding="utf-8")
    episodes = ("--episodes", "12", "--num-envs", "2", "--out", str(tmp_path / "run"))
    arguments = ("rollout", "--plugin", str(plugin), "--agent", "waiting", *episodes)
    command = [sys.executable, "-m", "deepeyes_env.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        record = tmp_path / "run" / "trajectories.jsonl"
        while running.poll() is None and not (record.exists() and record.stat().st_size):
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert said == f"stopped; --resume plays what {tmp_path / 'run'} lacks\n"
    assert 0 < len(list(read_trajectories(tmp_path / "run"))) < 12
    gate.touch()
    resumed = deepeyes(*arguments, "--resume")
    assert (rows(resumed.stdout)["episodes"], rows(resumed.stdout)["accuracy"]) == ("12", "1.000")


@pytest.mark.integration
@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_it_names_the_extra(package):
    code = f"import sys; sys.modules[{package!r}] = None; from deepeyes_env.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"the deepeyes command needs typer and rich; run: {install_command('cli')}\n"


def test_images_beside_a_data_file_are_opened_and_others_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPEYES_IMAGE_ROOT", "")  # the command sets it, and this takes it back
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    data = tmp_path / "set" / "set.jsonl"
    data.parent.mkdir()
    data.write_text(json.dumps({"question": "q", "answer": "a", "images": "../a.png"}) + "\n")
    command = ("rollout", "--data", data, "--episodes", 1, "--agent", "blind")
    refused = deepeyes(*command)
    assert refused.exit_code == 1
    assert "--image-root" in refused.stderr
    assert deepeyes("--image-root", tmp_path, *command).exit_code == 0


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
from deepeyes_env.cli.app import app
app(sys.argv[1:])
"""


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX's")
def test_a_full_disk_is_told_with_the_file_and_what_to_do(tmp_path):
    command = ["rollout", "--agent", "noisy", "--episodes", "20", "--out", str(tmp_path / "run")]
    ended = subprocess.run([sys.executable, "-c", FULL_DISK, *command], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert str(tmp_path / "run") in last
    assert "free some space" in last
    assert not list(tmp_path.rglob("*.tmp"))
