"""Training goes on where rows, judge, tools and policy do not, and every case is counted; as ``checks.py`` is run."""

from __future__ import annotations

import numpy as np
import pytest

from deepeyes_env.data import load
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.trainers.tiny import BASE
from tests.trainers import faults
from tests.trl.checks import RESTLESS, trained

GROUP, ROWS = 4, 5


@pytest.mark.parametrize("mode", ["environment", "rollout"])
def test_a_run_goes_on_and_counts_its_faults(tmp_path, mode):
    data = load(str(faults.write_rows(tmp_path)))
    view = ViewBudget(faults.VIEW, faults.VIEW)
    settings = {"batch": GROUP * ROWS, "tool_timeout": faults.LIMIT, "view": view}
    trainer, reward = trained(BASE, data, mode, tmp_path, toolbox=RESTLESS, **settings)
    assert reward.failures == 2 * 2 * GROUP  # in both steps, torn and unjudged
    logged = [row for row in trainer.state.log_history if "episodes/failed" in row]
    assert len(logged) == 2
    for row in logged:
        finished = GROUP * ROWS * (1 - row["episodes/failed"])
        assert finished == pytest.approx(3 * GROUP)
        assert row["stop/tool_timeout"] * finished == pytest.approx(GROUP)
        assert row["stop/max_turns"] * finished >= GROUP - 1e-4
    for made, _ in trainer.batches:
        assert np.isfinite(made["advantages"].numpy()).all()
        assert int((made["advantages"] == 0).sum()) >= 2 * GROUP


def test_a_resumed_run_has_the_same_next_batch(tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    data = pattern_search(length=16)
    trained(BASE, data, "environment", parted, steps=1, save="steps")
    first, _ = trained(BASE, data, "environment", whole, steps=2)
    again, _ = trained(BASE, data, "environment", parted, steps=2, resume=True)
    asked = [[episode.sample.id for episode in episodes] for _, episodes in first.batches]
    assert len(asked) == 2
    assert asked[0] != asked[1]
    assert [[episode.sample.id for episode in episodes] for _, episodes in again.batches] == asked[1:]
