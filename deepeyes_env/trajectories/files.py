"""Files of a run folder: where they are, and what they are called."""

from __future__ import annotations

from pathlib import Path

RECORDS = "trajectories.jsonl"
IMAGES = "images"


def folder_of(source: Path) -> Path:
    """Return the run folder that is meant by the folder itself, or by the file of trajectories in it."""
    return source.parent if source.is_file() else source


def image_path(digest: str, extension: str) -> str:
    """Return where the image with a digest is stored, relative to the run folder."""
    return f"{IMAGES}/{digest[:2]}/{digest}.{extension}"
