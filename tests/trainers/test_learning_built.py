"""Whole training runs of tiny policies that are built first: over two images, of another family, and with code."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.sandbox import get_sandbox
from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.run import run
from deepeyes_env.trainers.tiny.build import build
from deepeyes_env.trainers.tiny.cold_start import cold_start
from deepeyes_env.trainers.tiny.task import PAIRS, TASKS
from tests.sandbox.conftest import local_sandbox

pytestmark = [pytest.mark.slow, pytest.mark.learning, pytest.mark.timeout(3600)]

QWEN3 = TASKS["qwen3_vl"]


@pytest.fixture(scope="module")
def for_pairs(tmp_path_factory):
    return _built(tmp_path_factory, PAIRS)


@pytest.fixture(scope="module")
def a_qwen3(tmp_path_factory):
    return _built(tmp_path_factory, QWEN3)


def test_the_image_that_is_asked_for_is_zoomed_into(tmp_path, for_pairs):
    """In two of three seeds: 96 hard questions before training are right by a share that varies by 0.05."""
    settings = ["steps=80", f"data={PAIRS.data}", f"env.toolbox={PAIRS.toolbox}"]
    outcomes = [_trained(tmp_path / str(seed), for_pairs, f"seed={seed}", *settings) for seed in range(3)]
    hard = [(each.before["eval/accuracy/hard"], each.after["eval/accuracy/hard"]) for each in outcomes]
    assert sum(before < 0.4 and after > 0.7 for before, after in hard) >= 2, hard


def test_a_tiny_qwen3_learns_as_the_shipped_policy_does(tmp_path, a_qwen3):
    """In two of three seeds, after as many steps, within 0.1 of the shipped one's mean (docs/training.md)."""
    width, height = QWEN3.size
    scenes = [f"scenes.size=[{width},{height}]", f"scenes.view_pixels={QWEN3.side**2}"]
    outcomes = [_trained(tmp_path / str(seed), a_qwen3, f"seed={seed}", *scenes) for seed in range(3)]
    learned = [(each.after["eval/accuracy/hard"], each.after["eval/tool/rate/hard"]) for each in outcomes]
    assert sum(abs(hard - 0.89) <= 0.1 and abs(rate - 0.98) <= 0.1 for hard, rate in learned) >= 2, learned


@pytest.mark.ray
def test_programs_are_learned(tmp_path, monkeypatch):
    """What ``make train-v2`` does: programs where they are needed, crops and searches likewise, nothing elsewhere."""
    local_sandbox(get_sandbox())
    monkeypatch.setenv("DEEPEYES_SEARCH", str(tmp_path / "facts"))
    cold_start(tmp_path / "cold")
    outcome = run(load_config([f"model={tmp_path}/cold", f"out={tmp_path}/run"], Path("tiny_v2")), live=False)
    assert outcome.before["eval/needs/code/accuracy"] < 0.4
    assert outcome.after["eval/needs/code/accuracy"] > 0.75
    uses = {need: outcome.after[f"eval/needs/{need}/code"] for need in ("code", "zoom", "search", "nothing")}
    assert uses["code"] > 0.9 > 0.2 > max(uses["zoom"], uses["search"], uses["nothing"])


def _built(tmp_path_factory, task):
    out = tmp_path_factory.mktemp("built") / "tiny"
    build(out, task=task)
    return out


def _trained(tmp_path, model, *settings):
    own = [f"model={model}", f"out={tmp_path}/run", "rollout.backend=threads"]
    return run(load_config([*own, *settings], Path("tiny")), live=False)
