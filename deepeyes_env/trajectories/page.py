"""write_page: a run as a page that opens from disk, with nothing to install and no server."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TextIO

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import ImageError
from deepeyes_env.files import check_folder, link_or_copy, replacing
from deepeyes_env.images import codec
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import page_data
from deepeyes_env.trajectories.files import folder_of
from deepeyes_env.trajectories.reader import read_trajectories
from deepeyes_env.trajectories.summary import summarise

logger = logging.getLogger(__name__)
_DATA = "data.js"
_SCRIPTS = ("parts.js", "lineage.js", "stage.js", "episode.js", "list.js", "viewer.js")
_ASSETS = ("index.html", "theme.css", "viewer.css", *_SCRIPTS)

PAGE = (_DATA, *_ASSETS)
"""Files of a page, but for its images."""

CONVERTED = "converted"
"""Folder of the images that browsers do not show, as PNGs."""

PAGE_FILES = (*PAGE, f"{CONVERTED}/{'[0-9a-f]' * 64}.png")
"""Patterns of the files of a page."""

_VIEWABLE = {".png", ".jpg", ".gif", ".webp", ".avif", ".bmp"}


def write_page(
    run_folder: str | Path, out: str | Path | None = None, *, trajectories: Iterable[Trajectory] | None = None
) -> Path:
    """Write the page of a run and return the path of its ``index.html``.

    Args:
        run_folder: Folder that a ``deepeyes_env.trajectories.TrajectoryWriter`` wrote, or the file of trajectories in
            it.
        out: Folder to write to; by default the run folder itself, which then is the page and can be zipped as it is.
            A folder inside the run folder refers to the run's images; any other gets its own (hard links where the
            file system allows them, else copies) and can be moved alone.
        trajectories: The run's episodes as the page shall show them, scored anew for example; by default as recorded.

    Raises:
        DataError: The run cannot be read; the message names file and line.
        OSError: ``out`` is a file, or cannot be written to.
    """
    run = folder_of(Path(run_folder))
    folder = run if out is None else Path(out)
    shown = read_trajectories(run_folder) if trajectories is None else trajectories
    if out is not None:
        check_folder(folder)
    with replacing(folder / _DATA) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
        _write_data(file, shown, run.resolve().name, _Images(run, folder))
    for name in _ASSETS:
        with replacing(folder / name) as temporary:
            temporary.write_bytes(resources.files(__package__).joinpath("viewer", name).read_bytes())
    return folder / "index.html"


def _write_data(file: TextIO, trajectories: Iterable[Trajectory], name: str, images: _Images) -> None:
    """Write ``data.js`` in one pass: an episode a line, then the header, which is known only at the end."""
    system_prompts: dict[str, int] = {}

    def written() -> Iterator[Trajectory]:
        for number, trajectory in enumerate(trajectories, start=1):
            system = system_prompts.setdefault(trajectory.system_prompt, len(system_prompts))
            episode = page_data.episode(trajectory, number, system, images.link)
            file.write(f"{page_data.script_line(episode)},\n")
            yield trajectory

    file.write("const deepeyesRun = { episodes: [\n")
    header = page_data.header(summarise(written()), name, list(system_prompts))
    file.write(f"].map((line) => JSON.parse(line)),\nheader: JSON.parse({page_data.script_line(header)}) }};\n")


class _Images:
    """Makes the images of a run reachable from the folder of its page."""

    def __init__(self, run: Path, folder: Path) -> None:
        self._run = run
        self._folder = folder
        inside = folder.resolve().is_relative_to(run.resolve())
        self._prefix = Path(os.path.relpath(run.resolve(), folder.resolve())) if inside else None
        self._urls: dict[str, str] = {}

    def link(self, image: ImageRef) -> str:
        """Return the URL of an image, relative to the page; missing files are only logged: the page marks them."""
        if image.digest not in self._urls:
            self._urls[image.digest] = self._link(image, Path(image.name))
        return self._urls[image.digest]

    def _link(self, image: ImageRef, path: Path) -> str:
        name = path.relative_to(self._run).as_posix()
        try:
            if path.suffix not in _VIEWABLE:
                return self._convert(image)
            if self._prefix is None and not (self._folder / name).exists():
                with replacing(self._folder / name) as temporary:
                    link_or_copy(path, temporary)
        except (OSError, ImageError) as error:
            logger.warning("%s: the page cannot show it (%s)", path, error)
        return name if self._prefix is None else (self._prefix / name).as_posix()

    def _convert(self, image: ImageRef) -> str:
        """Store an image that browsers do not show as a PNG beside the page."""
        name = f"{CONVERTED}/{image.digest}.png"
        if not (self._folder / name).exists():
            data = codec.encode(image.pixels(), format="png")
            with replacing(self._folder / name) as temporary:
                temporary.write_bytes(data)
        return name
