"""run: what a run leaves behind, where it may begin, and what it takes to resume one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.errors import MissingExtraError  # noqa: E402
from deepeyes_env.trainers.grpo.config import load_config  # noqa: E402
from deepeyes_env.trainers.grpo.run import TRAINING_RUN, run  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from deepeyes_env.trajectories import read_trajectories  # noqa: E402
from tests.trainers.grpo.small_runs import SMALL, config, trained  # noqa: E402


@pytest.mark.integration
@pytest.mark.usefixtures("plots")
def test_a_run_leaves_everything_behind(tmp_path):
    outcome = run(config(tmp_path / "run", "steps=2"), live=False)
    assert (outcome.steps, outcome.interrupted) == (2, False)
    folder = tmp_path / "run"
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert all(row["learn/logprob_gap"] < 1e-3 for row in rows if "learn/logprob_gap" in row)
    assert "eval/accuracy" in rows[0]
    assert "eval/accuracy" in rows[2]
    before, after = (list(read_trajectories(folder / name)) for name in ("before", "after"))
    assert [each.sample.id for each in before] == [each.sample.id for each in after]
    assert all(turn.tokens for each in after for turn in each.turns)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step_000002"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "comparison.html").read_text(encoding="utf-8").count("<section ") == 4
    assert list((folder / "tensorboard").glob("events.*"))
    assert load_config((), folder / "config.yaml").steps == 2
    TRAINING_RUN.check(folder)  # which finds nothing that it does not know
    with pytest.raises(FileExistsError, match="--resume or --overwrite"):
        run(config(folder), live=False)


@pytest.mark.integration
def test_the_logging_board_gets_every_episode(tmp_path):
    settings = ("log.rl_logging_board=true", "steps=2", "checkpoint.every=1", "evaluation.samples=0")
    run(config(tmp_path / "run", *settings), live=False)
    path = tmp_path / "run" / "logging_board" / "rollout_data_rank0.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1] * 6 + [2] * 6
    for row in rows:
        assert len(row["response_tokens"]) == len(row["logprobs"]) == len(row["token_rewards"])
        assert row["token_rewards"][-1] == row["reward"]
        assert row["prompt"]
        assert row["ground_truth"]
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 3, "torn', encoding="utf-8")
    run(config(tmp_path / "run", *settings, "steps=3"), resume=True, live=False)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows] == [1] * 6 + [2] * 6 + [3] * 6
    TRAINING_RUN.check(tmp_path / "run")


@pytest.mark.slow
def test_memory_does_not_grow_with_steps(tmp_path):
    settings = ("steps=200", "rollout.prompts=8", "rollout.group_size=4", "evaluation.samples=0", "checkpoint.every=50")
    code = "from deepeyes_env.trainers.grpo.config import load_config\nfrom deepeyes_env.trainers.grpo.run import run\n"
    code += f"run(load_config({[*SMALL, *settings, f'out={tmp_path}/run']!r}), live=False)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)
    peaks = {row["step"]: row["memory/peak"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["step"]}
    assert peaks[200] < 1.05 * peaks[100]


@pytest.mark.parametrize("marked", [True, False])
def test_what_no_run_wrote_is_not_deleted(tmp_path, marked):
    for name in ("config.yaml", "thesis.tex"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    if marked:
        TRAINING_RUN.claim(tmp_path)
    said = "thesis.tex, which no training run writes" if marked else "config.yaml and is not marked as the folder of a"
    with pytest.raises(FileExistsError, match=f"holds {said}"):
        run(config(tmp_path), overwrite=True, live=False)
    assert all((tmp_path / name).read_text(encoding="utf-8") == "x" for name in ("config.yaml", "thesis.tex"))


def test_somebody_s_folder_is_not_taken_for_a_run_to_resume(tmp_path):
    config(tmp_path).save(tmp_path / "config.yaml")
    with pytest.raises(FileNotFoundError, match="holds no run to resume"):
        run(config(tmp_path), resume=True, live=False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.integration
def test_a_run_is_not_deleted_for_one_that_cannot_begin(tmp_path, monkeypatch):
    run(config(tmp_path / "run", "evaluation.samples=0"), live=False)
    with pytest.raises(ValueError, match="nowhere"):
        run(config(tmp_path / "run", "model=/nowhere"), overwrite=True, live=False)
    assert (tmp_path / "run" / "metrics.jsonl").exists()
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match="wandb is not installed"):
        run(config(tmp_path / "run", "log.wandb=mine"), overwrite=True, live=False)
    with pytest.raises(ValueError, match=r"plugins=\['nope'\]: not loaded, .*; give --plugin nope, or plugins=\[\]"):
        run(config(tmp_path / "run", "plugins=[nope]"), overwrite=True, live=False)
    with pytest.raises(ValueError, match=r"unknown backend 'rays'; did you mean 'ray'\?"):
        run(config(tmp_path / "run", "rollout.backend=rays"), overwrite=True, live=False)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")
    run(config(tmp_path / "run", "evaluation.samples=0", "seed=5"), overwrite=True, live=False)
    assert load_config((), tmp_path / "run" / "config.yaml").seed == 5
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileExistsError, match="is a file; name a folder"):
        run(config(tmp_path / "file"), live=False)


def test_a_loss_that_is_unknown_is_found_first(tmp_path):
    with pytest.raises(ValueError, match="unknown policy loss 'pppo'"):
        run(config(tmp_path / "run", "algorithm.loss=pppo"), live=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_an_evaluation_that_was_interrupted_is_made_up_for(tmp_path):
    folder = tmp_path / "run"

    def spoil(trainer):
        real = trainer.evaluate

        def evaluate(name):
            if name == "after":
                raise KeyboardInterrupt
            return real(name)

        trainer.evaluate = evaluate

    trainer = trained(folder, spoil=spoil)
    trainer.config.save(folder / "config.yaml")
    TRAINING_RUN.claim(folder)
    assert trainer.progress.step == 1
    assert not (folder / "after").exists()
    assert not run(config(folder), resume=True, live=False).interrupted
    assert "eval/accuracy" in read_metrics(folder / "metrics.jsonl")[-1]
    assert (folder / "comparison.html").exists()
    rows = len(read_metrics(folder / "metrics.jsonl"))
    run(config(folder), resume=True, live=False)
    assert len(read_metrics(folder / "metrics.jsonl")) == rows


def test_a_run_goes_on_with_its_own_questions(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume; leave out --resume"):
        run(config(tmp_path / "run"), resume=True, live=False)
    run(config(tmp_path / "run", "evaluation.samples=2"), live=False)
    said = r"seed was 0 and now is 5, scenes\.easy was 0\.3 and now is 0\.4, evaluation\.samples was 2 and now is 4"
    with pytest.raises(ValueError, match=said):
        run(config(tmp_path / "run", "seed=5", "scenes.easy=0.4"), resume=True, live=False)


@pytest.mark.integration
def test_ctrl_c_while_a_run_is_closed_waits_until_it_is(tmp_path, monkeypatch):
    close = Trainer.close

    def interrupted(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        close(self)
        raise RuntimeError("tools would not close")

    monkeypatch.setattr(Trainer, "close", interrupted)
    with pytest.raises(RuntimeError, match="would not close"):
        run(config(tmp_path / "broken", "evaluation.samples=0"), live=False)
    assert (tmp_path / "broken" / "curves.png").exists()
    monkeypatch.setattr(Trainer, "close", lambda self: os.kill(os.getpid(), signal.SIGINT) or close(self))
    with pytest.raises(KeyboardInterrupt):
        run(config(tmp_path / "run", "evaluation.samples=0"), live=False)
    assert (tmp_path / "run" / "curves.png").exists()
