"""Episodes that a run keeps: all of a folder's, or none."""

from __future__ import annotations

from deepeyes_env import agents
from deepeyes_env.trainers.grpo.kept_episodes import write_trajectories
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.files import RECORDS
from tests.dying import deaths


def test_a_killed_writer_leaves_all_episodes_or_none(tmp_path):
    episodes = agents.rollout("VisualToolbox-v2", "oracle", episodes=3, progress=False, num_envs=2).trajectories
    folder = tmp_path / "run" / "after"
    write_trajectories(folder, episodes)
    left = []
    for _ in deaths(lambda: write_trajectories(folder, episodes[:2]), tmp_path):
        left.append(len(list(read_trajectories(folder))) if (folder / RECORDS).exists() else 0)
        write_trajectories(folder, episodes)
    assert set(left) <= {3, 0, 2}
    assert len(left) > 10
    assert list(read_trajectories(folder)) == list(episodes[:2])
