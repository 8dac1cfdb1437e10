"""The best held-out accuracy: what is kept of it, and when a run stops for want of a better one."""

from __future__ import annotations

import json
import logging

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.trainers.grpo.checkpoint import Checkpoints
from deepeyes_env.trainers.grpo.held_out import BestAccuracy
from tests.trainers.grpo.small_runs import RecordedRows, config, trained

EVERY_STEP = ("evaluation.every=1", "evaluation.samples=8", "optim.lr=1e-9", "checkpoint.every=1")


def test_a_better_one_is_kept_and_others_are_counted():
    best = BestAccuracy()
    assert [best.update(step, value) for step, value in enumerate([0.4, 0.4, 0.5, 0.3, 0.5])] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert (best.accuracy, best.step, best.since) == (0.5, 2, 2)
    again = BestAccuracy()
    again.restore(best.state())
    assert again == best


@pytest.mark.integration
def test_a_run_that_gets_no_better_stops_and_resumes_where_it_stopped(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    rows = RecordedRows()
    settings = (*EVERY_STEP, "steps=9", "evaluation.patience=2")
    trainer = trained(tmp_path / "run", *settings, recorders=[rows])
    accuracy = {row["step"]: row["eval/accuracy"] for row in rows if "eval/accuracy" in row}
    first = next(
        step for step in accuracy if step >= 2 and max(accuracy[step - 1], accuracy[step]) <= accuracy[step - 2]
    )
    assert trainer.progress.step == first < 9
    assert f"early stop after step {first}: 2 evaluations without a better held-out accuracy" in caplog.text
    assert (tmp_path / "run" / "after").exists()
    again = trained(tmp_path / "run", *settings, resume=True)
    assert again.progress.step == first, "it has stopped already"


@pytest.mark.integration
def test_the_best_model_is_kept_beside_the_checkpoints(tmp_path):
    rows = RecordedRows()
    trained(tmp_path / "run", *EVERY_STEP, "steps=2", "checkpoint.best=true", recorders=[rows])
    told = json.loads((tmp_path / "run" / "checkpoints" / "best" / "best.json").read_text(encoding="utf-8"))
    accuracy = {row["step"]: row["eval/accuracy"] for row in rows}
    assert told == {"step": max(accuracy, key=accuracy.get), "held_out_accuracy": max(accuracy.values())}
    VisionPolicy.load(tmp_path / "run" / "checkpoints" / "best")
    found = Checkpoints(tmp_path / "run" / "checkpoints", keep=2).found()
    assert [path.name for path in found] == ["step_000001", "step_000002"]


@pytest.mark.parametrize("setting", ["evaluation.patience=2", "checkpoint.best=true"])
def test_both_want_held_out_questions(tmp_path, setting):
    with pytest.raises(ValueError, match=r"goes by held-out accuracy: raise evaluation\.samples"):
        config(tmp_path, setting, "evaluation.samples=0", "evaluation.every=1")


def test_patience_wants_evaluations_on_the_way(tmp_path):
    with pytest.raises(ValueError, match=r"raise evaluation\.every above 0"):
        config(tmp_path, "evaluation.patience=2", "evaluation.every=0")
