"""A run that cannot learn anything says so, and why."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.errors import DeepEyesError
from deepeyes_env.images.codec import encode
from deepeyes_env.rewards import Rubric, Term, register_rubric
from deepeyes_env.trainers.grpo.checkpoint import Checkpoints
from deepeyes_env.trainers.grpo.diagnosis import MAX_EQUAL_STEPS, TrainingError, UnlearnedSteps
from tests.conftest import pattern
from tests.trainers.grpo.small_runs import RecordedRows, trained

register_rubric("test_constant", Rubric([Term("paid", lambda evidence: 0.7, 1.0)]))


@pytest.mark.integration
def test_dynamic_sampling_that_finds_nothing_ends_the_run_with_a_checkpoint(tmp_path, caplog):
    settings = ("env.rubric=test_constant", "rollout.dynamic_sampling=1", "steps=20", "evaluation.samples=0")
    rows = RecordedRows()
    with pytest.raises(TrainingError, match=r"no group of the last 10 steps had two different rewards \(reward 0\.70"):
        trained(tmp_path / "run", *settings, recorders=[rows])
    assert [row["step"] for row in rows] == [0, *range(1, MAX_EQUAL_STEPS + 1)]
    assert all(row["groups/equal"] == 1 for row in rows[1:])
    (path,) = Checkpoints(tmp_path / "run" / "checkpoints", 2).found()
    assert path.name == f"step_{MAX_EQUAL_STEPS:06d}"
    told = [record.message for record in caplog.records if "nothing to learn" in record.message]
    assert len(told) == 1
    assert told[0].startswith("step 1: nothing to learn: the rewards of each group are equal (reward 0.70, accuracy")


@pytest.mark.integration
def test_without_dynamic_sampling_a_run_of_equal_groups_is_told_and_goes_on(tmp_path, caplog):
    settings = ("env.rubric=test_constant", "steps=11", "evaluation.samples=0")
    trainer = trained(tmp_path / "run", *settings)
    assert trainer.progress.step == 11
    told = [record.message for record in caplog.records if record.name.endswith("diagnosis")]
    assert [line.split(":")[0] for line in told] == ["step 1", "step 10"]
    assert "the rubric pays every episode alike" in told[1]


def test_a_step_that_is_learned_from_begins_the_count_anew():
    steps = UnlearnedSteps(dynamic_sampling=True)
    for step in range(MAX_EQUAL_STEPS - 1):
        steps.all_equal(step, {})
    steps.learned()
    for step in range(MAX_EQUAL_STEPS - 1):
        steps.all_equal(step, {})
    steps.check({})
    steps.all_equal(99, {})
    with pytest.raises(DeepEyesError, match="no group of the last 10 steps"):
        steps.check({})


def test_the_tiny_policy_on_photographs_of_one_s_own_is_warned_of(tmp_path, caplog):
    from deepeyes_env import Sample
    from deepeyes_env.data import write_parquet

    image = encode(pattern(224, 224), format="png")
    questions = [Sample(f"q{i}", "What animal is in the picture?", "a dog", image) for i in range(8)]
    write_parquet(questions, tmp_path / "mine.parquet")
    caplog.set_level(logging.WARNING)
    trained(tmp_path / "run", f"data={tmp_path}/mine.parquet")
    (told,) = [record.message for record in caplog.records if record.name.endswith("diagnosis")]
    assert told.startswith("the first episodes are of no use (reward ")
    assert "accuracy 0.00" in told
    assert "the tiny policy knows the built-in task only: give model=FOLDER" in told
    assert told.endswith("run/before")


def test_messages_that_are_always_cut_are_warned_of(tmp_path, caplog):
    trained(tmp_path / "run", "rollout.max_new_tokens=2", "evaluation.samples=0")
    assert "100% of the messages were cut off: raise rollout.max_new_tokens=2" in caplog.text


@pytest.mark.integration
def test_the_built_in_task_is_not_warned_of(tmp_path, caplog):
    trained(tmp_path / "run")
    assert "of no use" not in caplog.text
