"""The plan's arithmetic, against the tensors of real steps: within 15 % in every stage, weights not counted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo import footprint  # noqa: E402
from deepeyes_env.trainers.grpo.footprint import ModelShape, Precision  # noqa: E402
from tests.small_model import PATCH, byte_tokenizer, random_model  # noqa: E402
from tests.trainers.grpo.measured_steps import Case, MeasuredStep  # noqa: E402

CASES = [
    Case(64, 2, 60, 3, 20),
    Case(64, 3, 100, 4, 30, vocabulary=5000, checkpointing=True),
    Case(128, 3, 60, 4, 20, frozen_vision=True),
]
OTHERS = [Case(64, 3, 60, 4, 20, family=family, checkpointing=True) for family in ("qwen2_vl", "qwen3_vl")]
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


@pytest.mark.integration
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_plan_is_what_a_step_holds(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*LARGER, *OTHERS], ids=str)
def test_the_plan_is_what_a_step_of_a_larger_model_holds(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", WITH_ADAPTERS, ids=str)
def test_the_plan_is_what_a_step_with_adapters_holds(case):
    pytest.importorskip("peft")
    check(case)


RESIDENT = """
import gc, pathlib, re, sys
from deepeyes_env.trainers.grpo import footprint
from tests.trainers.grpo.measured_steps import Case, MeasuredStep

def kilobytes(name):
    return int(re.search(name + r":\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

step = MeasuredStep(eval(sys.argv[1]))
batch, _ = step.play()
step.take(batch)
gc.collect()
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
step.take(batch)
print((kilobytes("VmHWM") - before) * 1024 / step.planned[footprint.UPDATE])
"""
"""Prints how the resident memory that a policy update takes compares with the plan."""


@pytest.mark.slow
@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of resident memory cannot be reset"
)
@pytest.mark.parametrize("case", LARGER[-2:], ids=str)
def test_the_plan_is_the_memory_that_a_process_takes(case):
    """Freed blocks go back at once, by glibc's setting; else it is its heap that is measured."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RESIDENT, repr(case)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr
    assert 0.85 < float(done.stdout) < 1.15


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("family", PATCH)
def test_weights_are_counted_exactly(tied, family):
    model = random_model(byte_tokenizer(), family=family, tie_word_embeddings=tied, num_hidden_layers=3)
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
