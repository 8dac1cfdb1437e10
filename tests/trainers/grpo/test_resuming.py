"""Resuming a run: after a kill it ends as if nothing had happened, and settings may change."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.checksums import write_checksums  # noqa: E402
from deepeyes_env.trainers.grpo.checkpoint import CheckpointError  # noqa: E402
from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from tests.trainers.grpo.small_runs import SMALL, config, trained  # noqa: E402

WAITS_AT_STEP_3 = """
import time
from deepeyes_env.trainers.tracking import MetricsFile

record = MetricsFile.record

def record_and_wait(self, step, metrics):
    record(self, step, metrics)
    while step == 3:
        print("step 3 is recorded", flush=True)
        time.sleep(1)

MetricsFile.record = record_and_wait
"""


@pytest.mark.integration
def test_a_killed_run_that_goes_on_ends_with_the_same_weights(tmp_path):
    settings = ("steps=5", "checkpoint.every=2", "evaluation.samples=2")
    plugin = tmp_path / "waits_at_step_3.py"
    plugin.write_text(WAITS_AT_STEP_3, encoding="utf-8")
    command = [sys.executable, "-m", "deepeyes_env.cli", "train", "--plugin", str(plugin), *SMALL, *settings]
    with subprocess.Popen([*command, f"out={tmp_path}/killed"], stdout=subprocess.PIPE, text=True) as killed:
        assert any("step 3 is recorded" in line for line in killed.stdout), "ended before it could be killed"
        killed.kill()
    run(config(tmp_path / "whole", *settings), live=False)
    run(config(tmp_path / "killed", *settings), resume=True, live=False)
    path = "checkpoints/step_000005/model.safetensors"
    assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "killed" / path).read_bytes()
    rows = read_metrics(tmp_path / "killed" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5]


@pytest.mark.integration
def test_going_on_takes_the_settings_of_now(tmp_path):
    trained(tmp_path, "evaluation.samples=0")
    settings = ("steps=2", "optim.betas=[0.5, 0.6]", "optim.weight_decay=0.5", "evaluation.samples=0")
    group = trained(tmp_path, *settings, resume=True).learner.optimizer.param_groups[0]
    assert (tuple(group["betas"]), group["weight_decay"]) == ((0.5, 0.6), 0.5)
    with pytest.raises(ValueError, match="an estimator without a value head"):
        Trainer(config(tmp_path, "algorithm.advantage=gae"), resume=True)
    (tmp_path / "checkpoints" / "step_000009").write_text("a file")
    state = tmp_path / "checkpoints" / "step_000002" / "state.pt"
    whole = torch.load(state, weights_only=True)
    torch.save({name: value for name, value in whole.items() if name != "optimizer"}, state)
    write_checksums(state.parent)
    with pytest.raises(CheckpointError, match=r"step_000002 cannot be read \('optimizer'\)"):
        Trainer(config(tmp_path), resume=True)
    torch.save(whole, state)
    write_checksums(state.parent)
    weights = tmp_path / "checkpoints" / "step_000002" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # a flipped bit is another weight, which nothing else would notice
    weights.write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"step_000002 cannot be read .*model.safetensors.* has changed .* delete it"
    ):
        Trainer(config(tmp_path), resume=True)
    weights.write_bytes(data[:1000])
    write_checksums(weights.parent)
    with pytest.raises(CheckpointError, match=r"step_000002 cannot be read .* delete it"):
        Trainer(config(tmp_path), resume=True)
