"""The plan's arithmetic, against the tensors of real steps: within 15 % in every stage, weights not counted."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo import footprint  # noqa: E402
from deepeyes_env.trainers.grpo.footprint import ModelShape, Precision  # noqa: E402
from tests.small_model import byte_tokenizer, random_model  # noqa: E402
from tests.trainers.grpo.measured_steps import Case, MeasuredStep  # noqa: E402

CASES = [
    Case(64, 2, 60, 3, 20),
    Case(64, 3, 100, 4, 30, vocabulary=5000, checkpointing=True),
    Case(128, 3, 60, 4, 20, frozen_vision=True),
]
LARGER = [
    Case(64, 4, 200, 4, 60, checkpointing=True),
    Case(128, 4, 100, 4, 40),
    Case(128, 4, 200, 4, 60, checkpointing=True, separate=True),
    Case(256, 4, 400, 8, 60, checkpointing=True),
    Case(512, 4, 200, 8, 60, checkpointing=True),
    Case(512, 3, 60, 6, 30, vocabulary=2000),
]
WITH_ADAPTERS = [
    Case(128, 4, 100, 4, 40, lora_rank=8),
    Case(128, 4, 400, 4, 60, lora_rank=8, checkpointing=True),
    Case(256, 4, 200, 6, 60, lora_rank=16, checkpointing=True, separate=True),
]


def check(case):
    step = MeasuredStep(case)
    planned = step.planned
    batch, measured = step.play()
    measured[footprint.UPDATE] = step.learn(batch)
    ratios = {stage: planned[stage] / found for stage, found in measured.items()}
    assert all(0.85 < ratio < 1.15 for ratio in ratios.values()), ratios


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_plan_is_what_a_step_holds(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", LARGER, ids=str)
def test_the_plan_is_what_a_step_of_a_larger_model_holds(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", WITH_ADAPTERS, ids=str)
def test_the_plan_is_what_a_step_with_adapters_holds(case):
    pytest.importorskip("peft")
    check(case)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_are_counted_exactly(tied):
    model = random_model(byte_tokenizer(), tie_word_embeddings=tied, num_hidden_layers=3)
    shape = ModelShape.of(model.config)
    assert shape.weights == sum(weight.numel() for weight in model.parameters())
    assert shape.vision == sum(weight.numel() for weight in model.model.visual.parameters())
    assert footprint.trainable(shape, Precision(frozen_vision=True)) == shape.weights - shape.vision


def test_adapters_are_counted_exactly():
    pytest.importorskip("peft")
    step = MeasuredStep(Case(64, 3, 10, 2, 5, lora_rank=4))
    shape = ModelShape.of(step.policy.model.config)
    trained = sum(weight.numel() for weight in step.policy.model.parameters() if weight.requires_grad)
    assert footprint.trainable(shape, Precision(lora_rank=4)) == trained
