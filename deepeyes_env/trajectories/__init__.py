"""Trajectories on disk: recording, reading, summaries, and the page to look at them."""

from deepeyes_env.trajectories.compare import write_comparison
from deepeyes_env.trajectories.page import write_page
from deepeyes_env.trajectories.reader import read_trajectories
from deepeyes_env.trajectories.summary import Summary, summarise
from deepeyes_env.trajectories.writer import TrajectoryWriter

__all__ = ["Summary", "TrajectoryWriter", "read_trajectories", "summarise", "write_comparison", "write_page"]
