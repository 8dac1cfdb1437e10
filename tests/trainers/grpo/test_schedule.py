"""The learning rate over a run."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo.schedule import lr_factor
from tests.trainers.grpo.small_runs import RecordedRows, trained


def course(schedule, warmup, total):
    return [lr_factor(schedule, step, warmup, total) for step in range(1, total + 1)]


def test_warm_up_comes_first_and_a_constant_rate_stays():
    assert course("constant", 4, 6) == [0.25, 0.5, 0.75, 1, 1, 1]
    assert course("constant", 0, 2) == [1, 1]


def test_the_others_fall_to_nothing_after_the_last_step():
    assert course("linear", 2, 5) == pytest.approx([0.5, 1, 0.75, 0.5, 0.25])
    assert course("linear", 0, 3) == pytest.approx([0.75, 0.5, 0.25])
    assert course("cosine", 2, 5) == pytest.approx([0.5, 1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert lr_factor("linear", 9, 2, 5) > 0, "a run may be made longer"


@pytest.mark.integration
def test_a_run_follows_its_schedule(tmp_path):
    rows = RecordedRows()
    settings = ("optim.schedule=linear", "optim.warmup=0", "optim.lr=0.001", "steps=3", "evaluation.samples=0")
    trainer = trained(tmp_path, *settings, "algorithm.entropy_coefficient=0.01", recorders=[rows])
    assert [row["learn/lr"] for row in rows[1:]] == pytest.approx([0.00075, 0.0005, 0.00025])
    assert trainer.learner.optimizer.param_groups[0]["lr"] == pytest.approx(0.00025)
