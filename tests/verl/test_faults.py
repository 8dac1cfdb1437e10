"""verl goes on where rows, tools and policy do not and where a worker is killed, and resumes into the same batch."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.judges.judging_model import honest
from tests.servers.faulty import FaultyServer
from tests.trainers import faults
from tests.verl.runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLUGINS = "plugins=[deepeyes_verl_spy,deepeyes_verl_faults]"
SMALL = ("test_every=0", "prompts=2", "mini_batch=2", "group_size=4", PLUGINS)
LONG = ("prompt_tokens=2048", "response_tokens=1024", "micro_batch_tokens=32768")
"""For toolboxes that have not the short prompt of the built-in task."""


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


def test_a_batch_of_all_kinds_of_bad_rows_is_trained_on(tmp_path):
    """A torn image, a judge that is gone, a policy that only calls or writes image tokens, a tool that hangs."""
    group = 4
    settings = (
        "plugins=[deepeyes_verl_spy,deepeyes_verl_pads,tests.trainers.faults]",
        f"train=[{faults.write_rows(tmp_path)}]",
        *(f"loop.toolbox={faults.SOUND}", f"loop.judge={faults.OUTAGE}"),
        *(f"loop.{name}={faults.VIEW}" for name in ("min_pixels", "max_pixels")),
        *LONG,
        *("test_every=0", "prompts=5", "mini_batch=5", f"group_size={group}"),
    )
    (step,) = Run(tmp_path / "run", 1, settings=settings).play()
    played, failed = 5 * group, 2 * group  # torn and unjudged
    finished = step.metrics["deepeyes/rollouts/finished"]
    assert (len(step.rows), step.metrics["deepeyes/rollouts/failed"], finished) == (played, failed, played - failed)
    assert step.metrics["deepeyes/stop/tool_timeout"] * finished == pytest.approx(group)
    assert step.metrics["deepeyes/stop/max_turns"] * finished == pytest.approx(group)
    assert step.metrics["deepeyes/vision_tokens"] * finished == pytest.approx(group)
    masked = [row for row in step.rows if row["extra_fields"]["deepeyes"]["error"]]
    assert len(masked) == failed
    assert not any(any(row["response_mask"]) or any(row["advantages"]) or row["reward"] for row in masked)
    assert step.metrics["training/rollout_probs_diff_max"] < 1e-3
    assert np.isfinite(step.metrics["actor/grad_norm"])


def test_a_step_in_which_all_rollouts_fail_is_passed_over(tmp_path):
    """They are all of one length and without an image, which unmended verl does not take."""
    (step,) = Run(tmp_path / "run", 1, settings=(*SMALL[:-1], "prompt_tokens=16")).play()
    assert (step.metrics["deepeyes/rollouts/finished"], step.metrics["deepeyes/rollouts/failed"]) == (0, 8)
    assert {(len(row["prompts"]), len(row["responses"])) for row in step.rows} == {(1, 1)}
    assert "actor/grad_norm" not in step.metrics


class DownForAMinute:
    """Lets connections drop for a minute, from some request on."""

    def __init__(self, after, seconds=60.0):
        self.after, self.seconds = after, seconds
        self.seen, self.began = 0, None

    def __call__(self, state, attempt):
        self.seen += 1
        if self.seen > self.after and self.began is None:
            self.began = time.monotonic()
        return "drop" if self.began is not None and time.monotonic() < self.began + self.seconds else None


def test_a_judge_that_is_down_for_a_minute_costs_rollouts(tmp_path):
    """A rollout waits for it for about eight seconds, so a minute is over after eleven steps at the latest."""
    down = DownForAMinute(after=8)  # a step asks 2 to 8 times: equal answers at a time are judged once
    with FaultyServer(honest, faults=down) as server:
        judge = ("loop.judge=llm", "loop.judge_model=tiny", f"loop.judge_url={server.url}", "loop.rubric=deepeyes")
        answering = ("plugins=[deepeyes_verl_spy,tests.trainers.faults]", f"loop.toolbox={faults.ANSWERING}")
        steps = Run(tmp_path / "run", 16, settings=(*SMALL[:-1], *LONG, *judge, *answering)).play()
    failed = [step.metrics["deepeyes/rollouts/failed"] for step in steps]
    assert len(failed) == 16
    assert failed[0] == failed[-1] == 0
    assert 8 in failed
    assert server.given["drop"] >= 5
    for step in steps:
        masked = [row for row in step.rows if row["extra_fields"]["deepeyes"]["error"]]
        assert len(masked) == step.metrics["deepeyes/rollouts/failed"]
        assert not any(any(row["response_mask"]) for row in masked)
        assert ("actor/grad_norm" in step.metrics) == (len(masked) < 8)
        assert all("JudgeError" in row["extra_fields"]["deepeyes"]["error"] for row in masked)


def samples(step):
    """Return the samples of a step, each as often as it was played."""
    return sorted(row["extra_fields"]["deepeyes"]["sample"] for row in step.rows)
