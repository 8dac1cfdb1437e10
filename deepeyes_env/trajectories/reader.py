"""Reading what ``deepeyes_env.trajectories.TrajectoryWriter`` wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import DataError, RecordError, UsageError
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.sources.recorded import ADDRESS_EXTENSION, Recorded
from deepeyes_env.json_lines import read_lines
from deepeyes_env.trajectories import schema
from deepeyes_env.trajectories.files import RECORDS

_IMAGE = re.compile(r"images/[0-9a-f]{2}/([0-9a-f]{64})\.[a-z0-9]{1,8}")


def read_trajectories(source: str | Path) -> Iterator[Trajectory]:
    """Read the trajectories of a run, one at a time.

    Images come back as references to their files: the digest is known, nothing is read before it is asked for. A last
    line without its end (the writer was killed, or is writing just now) is left out with a warning.

    Args:
        source: A run folder, or a file of trajectories with its ``images`` folder beside it.

    Raises:
        DataError: There is no such file (at once), or a line is not a trajectory (when its turn comes); the message
            names file, line and field.
    """
    path = Path(source)
    if path.is_dir():
        path = path / RECORDS
    if not path.is_file():
        inside = sorted(str(found.parent) for found in path.parent.glob(f"*/{RECORDS}"))
        hint = f"; there are runs in {', '.join(inside[:5])}" if inside else ""
        raise DataError(f"{path}: no such file; give a run folder that holds {RECORDS}, or such a file{hint}")
    return _read(path)


def _read(path: Path) -> Iterator[Trajectory]:
    images = ImageFolder(path.parent)

    def open_image(name: str) -> ImageRef:
        match = _IMAGE.fullmatch(name)
        if match is None:
            raise UsageError(f"image {name!r} is not of the form images/<2 hex>/<sha256>.<extension>")
        path = images.path(name)
        if name.endswith(f".{ADDRESS_EXTENSION}"):
            return ImageRef(Recorded(path, match[1], images), name=name, digest=match[1])
        return ImageRef(path, digest=match[1])

    for number, line in read_lines(path):
        try:
            yield schema.load(line, open_image)
        except RecordError as error:
            raise DataError(f"{path}, line {number}: {error}") from error
