"""Images for other people's decoders: bytes that give everybody the pixels that the policy saw."""

from __future__ import annotations

from pathlib import Path

from deepeyes_env.files import link_or_copy, replacing
from deepeyes_env.images.files import portable_image
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories.files import image_path


class PictureFolder:
    """Writes images to ``images/`` in a folder, named by their digests, each once.

    Args:
        folder: Where ``images`` is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def add(self, image: ImageRef) -> str:
        """Write an image unless it is there; return its path relative to the folder.

        Raises:
            ImageError: The image cannot be read; the message names it.
        """
        if image.digest not in self._names:
            self._names[image.digest] = self._write(image)
        return self._names[image.digest]

    def _write(self, image: ImageRef) -> str:
        data, extension = portable_image(image)
        name = image_path(image.digest, extension)
        target = self._folder / name
        if not target.exists():
            untouched = isinstance(image.source, Path) and image.encoded() == data
            with replacing(target) as temporary:
                if untouched and isinstance(image.source, Path):
                    link_or_copy(image.source, temporary)
                else:
                    temporary.write_bytes(data)
        return name
