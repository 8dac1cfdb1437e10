"""TrajectoryWriter: appends trajectories to a run folder."""

from __future__ import annotations

from pathlib import Path

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import ImageError
from deepeyes_env.files import refuse_file, replacing, sweep
from deepeyes_env.images import codec
from deepeyes_env.images.files import image_extension
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.sources.recorded import ADDRESS_EXTENSION, dump_address
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.json_lines import JSONLinesFile
from deepeyes_env.single_flight import SingleFlight
from deepeyes_env.trajectories import schema
from deepeyes_env.trajectories.files import IMAGES, RECORDS, image_path


class TrajectoryWriter:
    """Appends trajectories to ``trajectories.jsonl`` in a run folder, and their images to ``images/``.

    Images are named by their digest and stored once however many trajectories show them: encoded ones as the bytes they
    are, pixels and recipes as PNG. A line is written after all the images that it names, in one piece; so a process
    that is killed loses at most the line it was writing, and opening the folder again cuts that torn line off.

    Threads may share one writer. Of two writers to one folder, in whatever processes, the second is refused; where the
    system has no ``flock`` (Windows), it is not.

    Args:
        folder: The run folder; made if it does not exist, continued if it does.

    Raises:
        FileExistsError: It is a file, or another writer is at work.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        refuse_file(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._flight: SingleFlight[str, str] = SingleFlight({}, own_errors=(ImageError,))
        self._file = JSONLinesFile(self.folder / RECORDS, exclusive=True)
        images = self.folder / IMAGES
        for each in (self.folder, *(images.iterdir() if images.is_dir() else ())):
            sweep(each)

    def write(self, trajectory: Trajectory) -> None:
        """Append one trajectory.

        Raises:
            TypeError: Its metadata holds something that JSON cannot.
            ImageError: An image's file cannot be read, or has changed since the episode showed it.
            OSError: The disk is full, say; the file then still ends with a whole line.
        """
        self._file.append(schema.dump(trajectory, self._store_once))

    def close(self) -> None:
        """Close the file; writing afterwards raises ``ValueError``."""
        self._file.close()

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _store_once(self, image: ImageRef) -> str:
        """Store an image unless another call has; threads store different ones in parallel."""
        return self._flight.once(image.digest, lambda: self._store(image))

    def _store(self, image: ImageRef) -> str:
        name = image_path(image.digest, _extension(image))
        path = self.folder / name
        if path.exists():
            return name
        with replacing(path) as temporary:
            temporary.write_bytes(_bytes_of(image))
        return name


def _bytes_of(image: ImageRef) -> bytes:
    if isinstance(image.source, RegionSource):  # gigapixels are not copied: the record says where they are
        return dump_address(image.source)
    return image.encoded() if image.is_encoded else codec.encode(image.pixels(), format="png")


def _extension(image: ImageRef) -> str:
    if isinstance(image.source, RegionSource):
        return ADDRESS_EXTENSION
    if isinstance(image.source, bytes):
        return image_extension(image.source[:16])
    if isinstance(image.source, Path):
        with image.source.open("rb") as file:
            return image_extension(file.read(16))
    return "png"
