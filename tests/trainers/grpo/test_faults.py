"""Our trainer goes on where rows, judge, tools and policy do not, counts each case, and resumes into the same batch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.trainers.grpo.run import run  # noqa: E402
from deepeyes_env.trainers.tracking import read_metrics  # noqa: E402
from tests.trainers import faults  # noqa: E402
from tests.trainers.grpo.small_runs import config  # noqa: E402

GROUP = 3


@pytest.fixture
def settings(tmp_path):
    path = faults.write_rows(tmp_path)
    return (
        f"data={path}",
        f"env.toolbox={faults.SOUND}",
        *(f"env.{name}={faults.VIEW}" for name in ("min_pixels", "max_pixels")),
        *("rollout.prompts=5", f"rollout.group_size={GROUP}", "evaluation.samples=0", "checkpoint.every=1"),
    )


@pytest.mark.slow
def test_a_run_goes_on_counts_its_faults_and_resumes_into_the_same_batch(tmp_path, settings):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    run(config(whole, *settings, "steps=2"), live=False)
    run(config(parted, *settings, "steps=1"), live=False)
    run(config(parted, *settings, "steps=2"), live=False, resume=True)
    path = "checkpoints/step_000002/model.safetensors"
    assert (whole / path).read_bytes() == (parted / path).read_bytes()
    rows = read_metrics(whole / "metrics.jsonl")[1:]
    for row in rows:
        played = row["episodes/played"]
        assert played == 5 * GROUP
        assert row["episodes/failed"] == 2 * GROUP  # torn and unjudged
        finished = played - row["episodes/failed"]
        assert row["stop/tool_timeout"] * finished == pytest.approx(GROUP)
        assert row["stop/max_turns"] * finished >= GROUP - 1e-6
