"""Images beside a file: written in bytes that give everybody the policy's pixels, and read by their placeholders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.data.fields import checked
from deepeyes_env.files import link_or_copy, replacing
from deepeyes_env.images.files import portable_image
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories.export.conversation import MEDIA_PLACEHOLDERS
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


def shown_images(text: str, images: Iterator[ImageRef], where: str) -> tuple[ImageRef, ...]:
    """Take the images of a text's placeholders from those of a conversation.

    Args:
        text: The text.
        images: The images that are left; moves on.
        where: What holds the text, for errors.

    Raises:
        ValueError: There are too few, or there is the placeholder of a video.
    """
    for mark in MEDIA_PLACEHOLDERS[1:]:
        if mark in text:
            raise ValueError(f"{where}: {mark}, and the data set has none")
    wanted = text.count(IMAGE_PLACEHOLDER)
    shown = tuple(image for _, image in zip(range(wanted), images, strict=False))
    if len(shown) < wanted:
        raise ValueError(f"{where}: has an {IMAGE_PLACEHOLDER} for which images has no image")
    return shown


def named_image(name: Any, folder: ImageFolder, where: str) -> ImageRef:
    """Return the image that a file names, once its header is read.

    Raises:
        ValueError: It is no name, or there is no such image in the folder.
    """
    try:
        image = folder.image(checked(name, str, where))
        _ = image.size
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return image
