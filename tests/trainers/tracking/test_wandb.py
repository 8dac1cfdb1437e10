"""Weights & Biases in offline mode: what is recorded is on disk, and a resumed run keeps its id."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("wandb", reason="wandb is not installed; run: pip install wandb")

from deepeyes_env.trainers.grpo.run import TRAINING_RUN, run
from tests.trainers.grpo.small_runs import config

pytestmark = pytest.mark.slow

SETTINGS = ("log.wandb=deepeyes", "evaluation.samples=4", "checkpoint.every=1")


def test_a_run_is_recorded_offline_and_resumed_under_its_id(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "run"
    run(config(folder, *SETTINGS), live=False)
    name = (folder / "wandb_id").read_text(encoding="utf-8")
    run(config(folder, *SETTINGS, "steps=2"), resume=True, live=False)
    assert (folder / "wandb_id").read_text(encoding="utf-8") == name
    first, second = sorted(folder.glob(f"wandb/offline-run-*-{name}/run-{name}.wandb"), key=lambda path: str(path))
    for metric in (b"eval/accuracy", b"learn/loss", b"finish/length", b"groups/equal"):
        assert metric in first.read_bytes()
        assert metric in second.read_bytes()
    assert b"max_new_tokens" in first.read_bytes(), "the settings are there too"
    TRAINING_RUN.clear(folder)  # which deletes all that wandb wrote, links included
    assert not (folder / "wandb").exists()
