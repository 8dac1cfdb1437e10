"""Run folders that a killed process left."""

from __future__ import annotations

from pathlib import Path

from deepeyes_env.core import Trajectory
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.files import RECORDS
from tests.kills.killing import lines, timeless


def recorded(folder: Path) -> dict[int, str]:
    """The sample of each recorded episode, by its number; each is whole, images included, and there once."""
    if not (folder / RECORDS).exists():
        return {}
    found: dict[int, str] = {}
    for trajectory in read_trajectories(folder):
        number = trajectory.metadata["episode"]
        assert number not in found, f"episode {number} is there twice"
        found[number] = trajectory.sample.id
        check_images(trajectory)
    return found


def check_images(trajectory: Trajectory) -> None:
    for message in (trajectory.prompt, *(turn.observation for turn in trajectory.turns if turn.observation)):
        assert all(image.pixels().size for image in message.images)


def rows(folder: Path) -> list[dict]:
    """The records of a run in the order of its episodes, without times."""
    return sorted(timeless(lines(folder / RECORDS)), key=lambda row: row["metadata"]["episode"])
