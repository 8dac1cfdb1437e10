"""The trainer with environments in Ray actors."""

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

from deepeyes_env.registry import load_plugins  # noqa: E402
from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.grpo.trainer import Trainer  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from tests.envs.vector_helpers import raylet_of  # noqa: E402
from tests.trainers.grpo.small_runs import SMALL, config  # noqa: E402

pytestmark = pytest.mark.ray
RAY = ("rollout.backend=ray", "rollout.actors=1", "evaluation.samples=0")


@pytest.mark.slow  # tests/envs/test_vector_ray.py kills actors and compares the episodes, from which weights follow
@pytest.mark.usefixtures("shared_ray")
def test_an_actor_that_is_killed_costs_nothing(tmp_path):
    """Its episodes are played again from seed and actions: the same weights as if nothing had happened."""

    def weights(name, kill):
        trainer = Trainer(config(tmp_path / name, *RAY, "steps=2"))
        send, sent = trainer.env.send, []

        def send_and_kill(commands):
            sent.append(commands)
            if kill and len(sent) == 3:
                os.kill(trainer.env.actor_pids()[0], signal.SIGKILL)
            send(commands)

        trainer.env.send = send_and_kill
        try:
            trainer.train()
        finally:
            trainer.close()
        assert len(sent) > 3
        return trainer.policy.model.state_dict()

    whole, killed = weights("whole", kill=False), weights("killed", kill=True)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


CONSTANT = """
from deepeyes_env.rewards import Rubric, Term, register_rubric

def constant(evidence):
    return 7.0

register_rubric("test_constant", Rubric([Term("constant", constant, 1.0)]))
"""


@pytest.mark.usefixtures("shared_ray")
def test_a_rubric_of_a_plugin_reaches_the_actors(tmp_path):
    (tmp_path / "constant_plugin.py").write_text(CONSTANT, encoding="utf-8")
    load_plugins([str(tmp_path / "constant_plugin.py")])
    run(config(tmp_path / "run", *RAY, "env.rubric=test_constant"), live=False)
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[1]["reward/total"] == 7


def processes_of(mark):
    """Processes with something in their environment; where there is no /proc, none."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += [environment.parent.name] if mark.encode() in environment.read_bytes() else []
        except OSError:
            continue  # another user's, or it has ended
    return found


@pytest.mark.slow
def test_the_end_of_ray_s_own_process_leaves_a_checkpoint(tmp_path):
    settings = (*SMALL, *RAY, "steps=1000000", f"out={tmp_path}/run")
    command = [sys.executable, "-m", "deepeyes_env.cli", "train", *settings]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **streams) as process:
        while not any(row["step"] >= 1 for row in read_metrics(tmp_path / "run" / "metrics.jsonl")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        os.kill(raylet_of(process.pid), signal.SIGKILL)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "(raylet) has ended" in " ".join(said.split())  # the console breaks lines
    assert "Traceback" not in said
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{steps[-1]:06d}"]
    resumed = run(config(tmp_path / "run", *RAY, f"steps={steps[-1] + 1}"), resume=True, live=False)
    assert resumed.steps == steps[-1] + 1


@pytest.mark.slow  # test_train_cli.py interrupts a run in threads; test_vector_ray_start.py looks for processes
def test_ctrl_c_leaves_a_checkpoint_and_no_processes(tmp_path):
    settings = (*SMALL, *RAY, "steps=1000000", f"out={tmp_path}/run")
    command = [sys.executable, "-m", "deepeyes_env.cli", "train", *settings]
    marked = {**os.environ, "DEEPEYES_TEST": str(tmp_path)}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=marked, **streams) as process:
        while not any(row["step"] >= 1 for row in read_metrics(tmp_path / "run" / "metrics.jsonl")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        assert len(processes_of(str(tmp_path))) != 1, "Ray has processes of its own"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "resume with --resume" in said
    steps = [json.loads(line)["step"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == [f"step_{steps[-1]:06d}"]
    deadline = time.monotonic() + 60
    while processes_of(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(str(tmp_path)) == []
