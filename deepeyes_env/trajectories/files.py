"""Files of a run folder: where they are, and what they are called."""

from __future__ import annotations

from pathlib import Path

_HEX = "[0-9a-f]"

RECORDS = "trajectories.jsonl"
IMAGES = "images"

EPISODE_FILES = (RECORDS, f"{IMAGES}/{_HEX * 2}/{_HEX * 64}.*")
"""Patterns of the files that ``TrajectoryWriter`` writes; ``deepeyes_env.output_folder`` says what they are for."""


def folder_of(source: Path) -> Path:
    """Return the run folder that is meant by the folder itself, or by the file of trajectories in it."""
    return source.parent if source.is_file() else source


def image_path(digest: str, extension: str) -> str:
    """Return where the image with a digest is stored, relative to the run folder."""
    return f"{IMAGES}/{digest[:2]}/{digest}.{extension}"
