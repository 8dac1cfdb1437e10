"""``deepeyes train``, ``ablate`` and ``build-tiny``."""

import os
import signal

import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.cli.app import app
from deepeyes_env.trainers.grpo import ablate
from deepeyes_env.trainers.grpo.trainer import Trainer
from deepeyes_env.trainers.tracking import MetricsFile, read_metrics
from deepeyes_env.trainers.tracking.curves import plot_bands
from tests.trainers.conftest import leave_plots_out

SMALL = (
    "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=2", "evaluation.samples=4", "steps=1",
)  # fmt: skip


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.integration
def test_train_says_where_everything_is_then_goes_on_or_begins_anew(tmp_path):
    out = f"out={tmp_path}/run"
    first = deepeyes("train", *SMALL, out)
    assert first.exit_code == 0, first.output
    assert "curves.png" in first.output
    assert "questions played" in first.output
    again = deepeyes("train", *SMALL, out)
    assert again.exit_code == 1
    assert "--resume or --overwrite" in again.output
    assert deepeyes("train", "--resume", *SMALL, "steps=2", out).exit_code == 0
    assert (tmp_path / "run" / "checkpoints" / "step_000002" / "config.json").exists()


@pytest.mark.integration
def test_going_on_keeps_the_settings_of_the_run(tmp_path):
    out = f"out={tmp_path}/run"
    assert deepeyes("train", *SMALL, out, "seed=4").exit_code == 0
    again = deepeyes("train", "--resume", "steps=2", out)
    assert again.exit_code == 0, again.output
    (tmp_path / "other.yaml").write_text("steps: 3\n", encoding="utf-8")
    refused = deepeyes("train", "--resume", "--config", tmp_path / "other.yaml", out)
    assert refused.exit_code == 2
    assert "KEY=VALUE" in refused.output
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert (saved["seed"], saved["steps"], saved["rollout"]["prompts"]) == (4, 2, 2)


PLUGIN = """
from pathlib import Path
from deepeyes_env import Rubric, Term, register_rubric

Path(__file__).with_suffix(".loaded").touch()

def one(evidence):
    return 1.0

register_rubric("test_resumed", Rubric([Term("one", one)]))
"""


@pytest.mark.integration
def test_going_on_loads_a_plugin_only_if_it_is_given_again(tmp_path):
    """The folder of a run may come from a stranger, with settings that name code."""
    mine, loaded = tmp_path / "my_resumed_plugin.py", tmp_path / "my_resumed_plugin.loaded"
    mine.write_text(PLUGIN, encoding="utf-8")
    folder = tmp_path / "run"
    assert deepeyes("train", *SMALL, f"out={folder}").exit_code == 0
    settings = (folder / "config.yaml").read_text(encoding="utf-8")
    kept = settings.replace("rubric: auto", "rubric: test_resumed").partition("plugins:")[0]
    (folder / "config.yaml").write_text(f"{kept}plugins:\n- {mine}\n", encoding="utf-8")
    refused = deepeyes("train", "--resume", "steps=2", f"out={folder}")
    assert (refused.exit_code, loaded.exists()) == (1, False)
    assert f"not loaded, for settings in a folder may be a stranger's; give --plugin {mine}, or" in refused.stderr
    assert refused.stderr.count("\n") == 1
    resumed = deepeyes("train", "--resume", "--plugin", mine, "steps=2", f"out={folder}")
    assert resumed.exit_code == 0, resumed.output
    assert loaded.exists()
    saved = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert str(mine) in saved["plugins"]


FAILING = """
from deepeyes_env import Rubric, Term, register_rubric

def failing(evidence):
    raise RuntimeError("the judge is away")

register_rubric("test_failing", Rubric([Term("failing", failing)]))
"""


@pytest.mark.integration
def test_train_profile_says_where_the_time_went(tmp_path):
    result = deepeyes("train", "--profile", *SMALL, f"out={tmp_path}/run")
    assert result.exit_code == 0, result.output
    assert "outside the model" in result.output


def test_a_wrong_setting_is_one_line_with_the_nearest_name(tmp_path):
    result = deepeyes("train", "rollout.prompt=2", f"out={tmp_path}/run")
    assert result.exit_code == 1
    assert "rollout.prompts" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "ablate"])
def test_where_nothing_can_be_written_is_told_before_any_work(tmp_path, monkeypatch, command):
    (tmp_path / "file").touch()
    monkeypatch.setattr(Trainer, "__init__", None)
    result = deepeyes(command, *SMALL, f"out={tmp_path}/file")
    assert (result.exit_code, "file' is a file; name a folder" in result.stderr) == (1, True)
    result = deepeyes(command, *SMALL, f"out={tmp_path}/file/run")
    assert (result.exit_code, "cannot be written to (Not a directory); give" in result.stderr) == (1, True)


def test_a_run_in_which_every_episode_fails_is_no_success(tmp_path):
    (tmp_path / "my_failing_plugin.py").write_text(FAILING, encoding="utf-8")
    plugin = ("--plugin", tmp_path / "my_failing_plugin.py")
    result = deepeyes("train", *plugin, *SMALL, "env.rubric=test_failing", f"out={tmp_path}/run")
    assert result.exit_code == 1
    assert "none of the 4 held-out questions could be played: 4 x RuntimeError: the judge is away" in result.stderr


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """The arguments of a whole ablation, and the folder in which it is: the one that its settings file names."""
    folder = tmp_path_factory.mktemp("ablation") / "there"
    path = folder.with_name("ablation.yaml")
    path.write_text(f"out: {folder}\nsteps: 9\nevaluation: {{samples: 2}}\n", encoding="utf-8")
    arguments = ("ablate", "--seeds", 1, "--first-seed", 3, "--config", path, *SMALL, "evaluation.samples=2")
    with pytest.MonkeyPatch.context() as patch:
        leave_plots_out(patch)
        patch.setattr(ablate, "plot_bands", lambda arms, out: len(arms) == len(ablate.ARMS) and plot_bands(arms, out))
        result = deepeyes(*arguments)
    assert result.exit_code == 0, result.output
    return arguments, folder


@pytest.mark.integration
def test_ablate_trains_every_arm_and_goes_on_where_it_stopped(ablation):
    arguments, folder = ablation
    table = (folder / "ablation.md").read_text(encoding="utf-8").splitlines()
    names = [line.split("|")[1].strip() for line in table[2:]]
    assert names == [
        "no bonus (before)",
        "no bonus",
        "no bonus, per-call penalty",
        "unconditional bonus",
        "conditional bonus",
        "conditional bonus, per-call penalty",
        "conditional bonus, then per-call penalty",
    ]
    assert (folder / "ablation.png").read_bytes().startswith(b"\x89PNG")
    weights = folder / "no_bonus" / "seed_3" / "checkpoints" / "step_000001" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert deepeyes(*arguments).exit_code == 0
    assert weights.stat().st_mtime_ns == written


def test_ablate_wants_something_to_compare_by(tmp_path):
    result = deepeyes("ablate", *SMALL, "evaluation.samples=0", f"out={tmp_path}/ablation")
    assert result.exit_code == 1
    assert "evaluation.samples=0" in result.output
    assert not (tmp_path / "ablation").exists()


@pytest.mark.integration
def test_ablate_takes_no_runs_with_other_settings(ablation):
    arguments, folder = ablation
    assert "leave it out" in deepeyes(*arguments, "env.rubric=paper").output
    again = deepeyes(*arguments, "optim.lr=1e-5")
    assert again.exit_code == 1
    assert "optim.lr was 0.0003 and now is 1e-05" in again.output
    longer = deepeyes(*arguments, "steps=2")
    assert longer.exit_code == 1
    assert "steps was 1 and now is 2" in longer.output
    assert not list(folder.rglob("step_000002"))


def test_ctrl_c_leaves_a_checkpoint_of_the_last_step(tmp_path, monkeypatch):
    record = MetricsFile.record

    def record_and_interrupt(self, step, metrics):
        record(self, step, metrics)
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(MetricsFile, "record", record_and_interrupt)
    result = deepeyes("train", *SMALL, "steps=1000000", "evaluation.samples=0", f"out={tmp_path}/run")
    assert result.exit_code == 130, result.output
    assert "resume with --resume" in result.output
    step = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"step_{step:06d}"]


def test_ablate_stops_where_it_is_interrupted(tmp_path, monkeypatch):
    def interrupted(self, name):
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "evaluate", interrupted)
    result = deepeyes("ablate", "--seeds", 1, *SMALL, f"out={tmp_path}/ablation")
    assert result.exit_code == 130
    assert "run the same command again to resume" in result.output
    assert [path.name for path in (tmp_path / "ablation").iterdir() if path.is_dir()] == ["no_bonus"]


def test_a_family_of_which_no_tiny_policy_is_built_is_told(tmp_path):
    result = deepeyes("build-tiny", "--family", "qwen3vl", "--out", tmp_path / "tiny")
    assert result.exit_code == 1
    assert "unknown family of a tiny policy 'qwen3vl'; did you mean 'qwen3_vl'?" in result.output.replace("\n", " ")
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("name", ["thesis.tex", "config.json"])
def test_build_tiny_does_not_delete_what_it_did_not_write(tmp_path, name):
    (tmp_path / name).write_text("x", encoding="utf-8")
    result = deepeyes("build-tiny", "--out", tmp_path)
    assert result.exit_code == 1
    assert f"holds {name} and is not marked as the folder of a tiny policy" in result.output.replace("\n", "")
    assert (tmp_path / name).read_text(encoding="utf-8") == "x"
