"""Episodes of a run that are kept in folders of their own: of held-out questions, or of a step that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepeyes_env.checksums import CHECKSUMS
from deepeyes_env.core import Trajectory
from deepeyes_env.files import replacing_folder
from deepeyes_env.output_folder import OutputFolder
from deepeyes_env.trajectories import TrajectoryWriter
from deepeyes_env.trajectories.files import EPISODE_FILES
from deepeyes_env.trajectories.page import PAGE_FILES

EPISODES = OutputFolder("some episodes", (*EPISODE_FILES, *PAGE_FILES, CHECKSUMS))
"""A folder inside that of a run, with some of its episodes."""


def write_trajectories(folder: Path, trajectories: Sequence[Trajectory]) -> None:
    """Write trajectories into a folder of their own, in place of what it held; it holds all of them, or none."""
    EPISODES.delete(folder)
    with replacing_folder(folder) as beside, TrajectoryWriter(beside) as writer:
        for trajectory in trajectories:
            writer.write(trajectory)
