"""Files of a run folder: where they are, and what they are called."""

from __future__ import annotations

RECORDS = "trajectories.jsonl"
IMAGES = "images"


def image_path(digest: str, extension: str) -> str:
    """Return where the image with a digest is stored, relative to the run folder."""
    return f"{IMAGES}/{digest[:2]}/{digest}.{extension}"
