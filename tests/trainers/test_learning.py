"""Whole training runs: the shipped policy learns to zoom, whatever the seed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo.config import load_config
from deepeyes_env.trainers.grpo.run import run


@pytest.mark.slow
@pytest.mark.learning
@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("seed", "wanted"), [(0, 0.75), (1, 0.65), (2, 0.65), (3, 0.65)])
def test_hard_scenes_are_learned(tmp_path, seed, wanted):
    outcome = run(load_config([f"seed={seed}", f"out={tmp_path}/run"]), live=False)
    if seed == 0:
        assert outcome.before["eval/accuracy/hard"] < 0.35
    assert outcome.after["eval/accuracy/hard"] > wanted
    assert outcome.after["eval/tool/rate/hard"] > 0.8
