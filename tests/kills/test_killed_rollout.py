"""``deepeyes rollout`` killed fifteen times: the run is the one that nobody disturbed."""

import itertools

import pytest

from tests.kills.episodes import recorded, rows
from tests.kills.killing import Killer, tell, unfinished

KILLS, EPISODES = 15, 80


def command(out):
    return ["rollout", "--agent", "noisy", "--episodes", str(EPISODES), "--num-envs", "4", "--out", str(out)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_rollout_survives_fifteen_kills(tmp_path):
    whole = tmp_path / "whole"
    killer = Killer("rollout", command(whole), whole, seed=2)
    for number in itertools.count():
        if killer.total >= KILLS:
            break
        killed_until_done(killer, tmp_path / f"run{number}", whole)
    tell("rollout", [killer])


def killed_until_done(killer, out, whole):
    resume, before, alive = [], {}, True
    while alive:
        alive = killer.strike([*command(out), *resume], out)
        now = recorded(out)
        assert before.items() <= now.items(), "an episode was lost"
        resume, before = ["--resume"], now
    assert sorted(before) == list(range(EPISODES))
    assert rows(out) == rows(whole)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert unfinished(out) == []
