"""A run as it stands now: its episodes, with what was found out about them after they were played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from deepeyes_env.agents.evaluation.effects import read_effects, with_effects
from deepeyes_env.agents.evaluation.score_file import last_scores
from deepeyes_env.agents.evaluation.scoring import with_score
from deepeyes_env.core import Trajectory
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.files import folder_of


def read_scored(run: Path) -> Iterator[Trajectory]:
    """Read a run, with the verdicts of the judge that came after it, if any did, and what its calls were worth.

    Args:
        run: Its folder, or the file of trajectories in it.

    Raises:
        DataError: It holds no trajectories.
    """
    scores, effects = last_scores(folder_of(run)), read_effects(folder_of(run))
    for trajectory in read_trajectories(run):
        judged = with_score(trajectory, scores.get(trajectory.metadata.get("episode", -1)))
        yield with_effects(judged, effects)
