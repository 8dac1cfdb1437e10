"""ImageFolder: which files the names of images in a data set or a run may open."""

from __future__ import annotations

import os
from pathlib import Path

from deepeyes_env.errors import ImageError
from deepeyes_env.images.names import named_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.sources.named import source_of, split_fragment
from deepeyes_env.telling import quoted

IMAGE_ROOT = "DEEPEYES_IMAGE_ROOT"
"""Environment variable that names one more folder in which images may lie; ``--image-root`` sets it for a command."""


class ImageFolder:
    """Images by the names that a file gives them: those below the file's folder, and no others.

    The file may come from a stranger. A name that leads out of the folder (an absolute path, ``..``, a link) would
    read other files of the user's, and put them into records, exports and requests to servers.

    Args:
        folder: What relative names are relative to.
        root: One more folder in which images may lie; by default what ``DEEPEYES_IMAGE_ROOT`` names, if it is set.
            In a folder that ``hf download`` made, its links into ``blobs`` are allowed too.
    """

    def __init__(self, folder: Path, root: str | Path | None = None) -> None:
        self.folder = folder
        more = [root or os.environ.get(IMAGE_ROOT) or folder, *_hub_blobs(folder)]
        self._allowed = tuple(Path(os.path.realpath(each)) for each in (folder, *more))

    def image(self, name: str) -> ImageRef:
        """Return the image of a name (a path, a ``file://`` URL or a data URL); no file is read yet.

        Raises:
            ImageError: The name leads out of the folder, or is a URL of another kind.
        """
        named = named_image(name)
        if isinstance(named, bytes):
            return ImageRef(named, name="in a data URL")
        path, fragment = split_fragment(named)  # links are followed without it
        return ImageRef(source_of(self.path(path), fragment), name=str(self.folder / named))

    def path(self, name: str | Path) -> Path:
        """Return the path of a name.

        Raises:
            ImageError: The name leads out of the folder.
        """
        path = self.folder / name
        if not self.holds(path):
            raise ImageError(
                f"image {quoted(str(name), 300)} lies outside of {self.folder}, the folder of the file that names it; "
                f"if that is meant, allow its folder: deepeyes --image-root DIR, or {IMAGE_ROOT}=DIR"
            )
        return path

    def holds(self, path: Path) -> bool:
        """Whether a path, its links followed, leads to where images may lie."""
        real = Path(os.path.realpath(path))
        return any(real.is_relative_to(each) for each in self._allowed)


def _hub_blobs(folder: Path) -> list[Path]:
    """Return where the files of a Hugging Face cache lie, if the folder is a snapshot in one."""
    whole = folder.absolute()
    return [each.parent / "blobs" for each in (whole, *whole.parents) if each.name == "snapshots"]
