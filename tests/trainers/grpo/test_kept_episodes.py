"""Episodes that a run keeps: all of a folder's, or none."""

from __future__ import annotations

import pytest

from deepeyes_env.core import Message, Sample, Trajectory
from deepeyes_env.trainers.grpo.kept_episodes import write_trajectories
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.files import RECORDS
from tests.conftest import pattern
from tests.dying import deaths


def episode(number):
    sample = Sample(f"q{number}", "What?", "red", (pattern(28, 28),))
    return Trajectory(sample, Message("<image>What?", sample.images))


@pytest.mark.integration
def test_a_killed_writer_leaves_all_episodes_or_none(tmp_path):
    folder = tmp_path / "run" / "after"
    before, now = [episode(number) for number in range(3)], [episode(number) for number in range(2)]
    write_trajectories(folder, before)
    left = []
    for _ in deaths(lambda: write_trajectories(folder, now), tmp_path):
        left.append(len(list(read_trajectories(folder))) if (folder / RECORDS).exists() else 0)
        write_trajectories(folder, before)
    assert set(left) <= {3, 0, 2}
    assert len(left) > 10
    assert list(read_trajectories(folder)) == now
