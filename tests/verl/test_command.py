"""``deepeyes train-verl`` beside an installed verl: its configuration takes every preset, and the tiny one trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepeyes_env.errors import UsageError
from deepeyes_env.trainers.verl.command import overrides
from deepeyes_env.trainers.verl.config import ESTIMATORS, PRESETS, load_config
from deepeyes_env.trainers.verl.verl_settings import check_overrides
from tests.verl.runs import HERE, SITE

NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("algorithm", ESTIMATORS)
def test_verl_takes_every_preset(name, algorithm):
    check_overrides(overrides(load_config([f"algorithm={algorithm}"], Path(name))))


@pytest.mark.parametrize(
    "change", ["verl.trainer.n_gpu=3", "verl.data.shuffel=true", "verl.actor_rollout_ref.rollot.n=3"]
)
def test_what_verl_does_not_know_is_told(change):
    with pytest.raises(UsageError, match="verl refuses its settings"):
        check_overrides(overrides(load_config([change], Path("7b"))))


def test_text_comes_through_as_it_was_written():
    from hydra import compose, initialize_config_module

    told = [
        "it's",
        "a b",
        "c,d",
        "1e5",
        "null",
        "x=y",
        "{a}",
        "ümlaut",
        "",
        "back\\slash",
        "tail\\",
        "two\\\\",
        "it\\'s",
    ]
    config = load_config([f"verl.+mine={json.dumps(told)}"])
    with initialize_config_module("verl.trainer.config", version_base=None):
        assert list(compose("ppo_trainer", overrides(config)).mine) == told


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("algorithm", ["grpo", "reinforce_plus_plus"])
def test_the_command_trains_the_tiny_policy(tmp_path, algorithm):
    path = os.pathsep.join([str(HERE.parents[1]), str(SITE)])
    settings = ("steps=1", "test_every=0", "out=run", f"algorithm={algorithm}")
    done = subprocess.run(
        [sys.executable, "-m", "deepeyes_env.cli", "train-verl", *settings],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    (logged,) = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    assert logged["step"] == 1
    assert logged["data"]["deepeyes/rollouts/finished"] == 64
    assert logged["data"]["actor/grad_norm"] > 0
    assert logged["data"]["training/rollout_probs_diff_max"] < 1e-3
