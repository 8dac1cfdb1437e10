"""The trainer on the shipped policy: steps, estimators, faults, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trajectories import read_trajectories  # noqa: E402
from trainers.grpo.config import load_config  # noqa: E402
from trainers.grpo.learner import NonFiniteError  # noqa: E402
from trainers.grpo.run import run  # noqa: E402
from trainers.grpo.trainer import Trainer  # noqa: E402
from trainers.sight import read_metrics  # noqa: E402

SMALL = (
    "rollout.backend=threads", "rollout.prompts=2", "rollout.group_size=3", "evaluation.samples=4",
    "evaluation.every=0", "checkpoint.every=0", "steps=1",
)  # fmt: skip


def config(out, *overrides):
    return load_config([*SMALL, f"out={out}", *overrides])


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
    assert (folder / "comparison.html").read_text(encoding="utf-8").count("<section>") == 4
    assert list((folder / "tensorboard").glob("events.*"))
    assert load_config((), folder / "config.yaml").steps == 2
    with pytest.raises(FileExistsError, match="--resume or --overwrite"):
        run(config(folder), live=False)


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


@pytest.mark.ray
def test_an_actor_that_is_killed_costs_nothing(tmp_path):
    """Its episodes are played again from seed and actions: the same weights as if nothing had happened."""

    def weights(name, kill):
        settings = ("steps=2", "rollout.backend=ray", "rollout.actors=1", "evaluation.samples=0")
        trainer = Trainer(config(tmp_path / name, *settings))
        send, sent = trainer._env.send, []

        def send_and_kill(commands):
            sent.append(commands)
            if kill and len(sent) == 3:
                os.kill(trainer._env.actor_pids()[0], signal.SIGKILL)
            send(commands)

        trainer._env.send = send_and_kill
        try:
            trainer.train()
        finally:
            trainer.close()
        assert len(sent) > 3
        return trainer.policy.model.state_dict()

    whole, killed = weights("whole", kill=False), weights("killed", kill=True)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.slow
def test_memory_does_not_grow_with_steps(tmp_path):
    settings = ("steps=200", "rollout.prompts=8", "rollout.group_size=4", "evaluation.samples=0", "checkpoint.every=50")
    code = "from trainers.grpo.config import load_config\nfrom trainers.grpo.run import run\n"
    code += f"run(load_config({[*SMALL, *settings, f'out={tmp_path}/run']!r}), live=False)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=900)
    peaks = {row["step"]: row["memory/peak"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if row["step"]}
    assert peaks[200] < 1.05 * peaks[100]


def test_a_folder_that_holds_no_run_is_not_deleted(tmp_path):
    (tmp_path / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(FileExistsError, match="holds no run; it is not deleted"):
        run(config(tmp_path), overwrite=True, live=False)


@pytest.mark.parametrize(
    "settings",
    [
        ("algorithm.advantage=remax", "algorithm.loss=reinforce"),
        ("algorithm.advantage=gae", "optim.epochs=2"),
        ("algorithm.advantage=rloo", "algorithm.kl=loss", "algorithm.loss=gspo"),
        ("algorithm.advantage=reinforce_plus_plus", "algorithm.kl=reward", "algorithm.entropy_coefficient=0.01"),
        ("algorithm.advantage=dr_grpo", "optim.minibatches=2", "optim.micro_batch_tokens=200"),
        ("rollout.dynamic_sampling=2",),
        ("optim.dtype=bfloat16", "optim.gradient_checkpointing=true"),
    ],
)
def test_every_algorithm_takes_a_step(tmp_path, settings):
    trainer = Trainer(config(tmp_path, *settings))
    before = {name: weight.clone() for name, weight in trainer.policy.model.state_dict().items()}
    try:
        trainer.train()
    finally:
        trainer.close()
    after = trainer.policy.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.isfinite(weight).all() for weight in after.values())


def test_micro_batches_change_nothing(tmp_path):
    def weights(name, *settings):
        trainer = Trainer(config(tmp_path / name, *settings))
        try:
            trainer.train()
        finally:
            trainer.close()
        return trainer.policy.model.state_dict()

    whole, cut = weights("whole"), weights("cut", "optim.micro_batch_tokens=150")
    # Adam divides by the size of a gradient: where that is next to nothing, rounding decides.
    close = [torch.isclose(whole[name], cut[name], atol=2e-5).float().mean() for name in whole]
    assert min(close) > 0.9


def test_not_a_number_stops_the_run_and_keeps_the_batch(tmp_path, monkeypatch):
    trainer = Trainer(config(tmp_path))
    monkeypatch.setattr(trainer.learner, "_is_useful", lambda *_: True)
    real = trainer.learner._loss
    monkeypatch.setattr(trainer.learner, "_loss", lambda *given: real(*given) * torch.nan)
    try:
        with pytest.raises(NonFiniteError, match=r"step 1: the loss is nan; its episodes are in .*failed_step_000001"):
            trainer.train()
    finally:
        trainer.close()
    assert len(list(read_trajectories(tmp_path / "failed_step_000001"))) == 6


PLUGIN = """
from deepeyes_env.rewards import Rubric, Term, register_rubric

def broken(evidence):
    raise RuntimeError("the judge is away")

register_rubric("test_broken", Rubric([Term("acc", broken, 1.0)]))
"""


def test_a_judge_that_always_raises_ends_the_run_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text(PLUGIN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = ("env.plugins=[broken_plugin]", "env.rubric=test_broken", "steps=9", "evaluation.samples=0")
    trainer = Trainer(config(tmp_path / "run", *settings))
    try:
        with pytest.raises(RuntimeError, match=r"no episode of the last 3 steps .* the judge is away"):
            trainer.train()
    finally:
        trainer.close()


def command(out, *overrides):
    return [sys.executable, "-m", "deepeyes_env.cli", "train", *SMALL, f"out={out}", *overrides]


def wait_for_step(folder, step, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        path = Path(folder) / "metrics.jsonl"
        if path.exists() and any(row["step"] >= step for row in read_metrics(path)):
            return
        time.sleep(0.02)
    raise AssertionError(f"the run never came to step {step}: {process.stderr and process.stderr.read()}")


def test_a_killed_run_that_goes_on_ends_with_the_same_weights(tmp_path):
    settings = ("steps=5", "checkpoint.every=2", "evaluation.samples=2")
    environment = {**os.environ, "PYTHONPATH": "."}
    whole = subprocess.Popen(command(tmp_path / "whole", *settings), env=environment, stderr=subprocess.PIPE)
    killed = subprocess.Popen(command(tmp_path / "killed", *settings), env=environment, stderr=subprocess.PIPE)
    wait_for_step(tmp_path / "killed", 3, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert whole.wait(timeout=120) == 0, whole.stderr.read()
    subprocess.run([*command(tmp_path / "killed", *settings), "--resume"], env=environment, check=True)
    path = "checkpoints/step_000005/model.safetensors"
    assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "killed" / path).read_bytes()
    rows = read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]


@pytest.mark.ray
def test_ctrl_c_leaves_a_checkpoint_and_no_processes(tmp_path):
    settings = ("steps=500", "rollout.backend=ray", "rollout.actors=1", "evaluation.samples=0")
    process = subprocess.Popen(
        command(tmp_path / "run", *settings),
        env={**os.environ, "PYTHONPATH": "."},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(tmp_path / "run", 1, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "--resume goes on from there" in said
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{steps[-1]:06d}"]
    mine = subprocess.run(["pgrep", "-f", f"{tmp_path}"], capture_output=True, text=True, check=False)
    assert mine.stdout == ""
