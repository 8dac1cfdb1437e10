"""verl goes on where a worker is killed, and resumes into the same batch."""

from __future__ import annotations

import pytest

from tests.verl.runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLUGINS = "plugins=[deepeyes_verl_spy,deepeyes_verl_faults]"
SMALL = ("test_every=0", "prompts=2", "mini_batch=2", "group_size=4", PLUGINS)


def test_a_killed_worker_is_replaced_and_a_resumed_run_has_the_same_next_batch(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPEYES_KILL", str(tmp_path / "killed"))
    monkeypatch.setenv("DEEPEYES_KILL_AFTER", "10")  # in the second step
    whole = Run(tmp_path / "whole", 2, settings=SMALL).play()
    assert (tmp_path / "killed").exists()
    assert [len(step.rows) for step in whole] == [8, 8]
    assert [step.metrics["deepeyes/workers/replaced"] for step in whole] == [0, 1]
    parted = tmp_path / "parted"
    Run(parted, 1, settings=(*SMALL, "save_every=1")).play()
    resumed = Run(parted, 2, settings=(*SMALL, "save_every=1")).play()
    assert [step.number for step in resumed] == [1, 2]
    assert [samples(step) for step in resumed] == [samples(step) for step in whole]


def samples(step):
    """Return the samples of a step, each as often as it was played."""
    return sorted(row["extra_fields"]["deepeyes"]["sample"] for row in step.rows)
