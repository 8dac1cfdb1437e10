"""Image search: results that were fetched before, in MMSearch-R1's form, or the nearest images of a folder."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.core import IMAGE_MARK, Sample
from deepeyes_env.errors import DataError, ImageError, UsageError, UsageTypeError
from deepeyes_env.images import Image, ImageRef
from deepeyes_env.images.folder import ImageFolder
from deepeyes_env.strict_json import read_json
from deepeyes_env.telling import quoted
from deepeyes_env.tools.search.lookalikes import Lookalikes
from deepeyes_env.tools.search.results import MAX_RESULTS, SearchError

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class ImageHit:
    """An image that was found.

    Attributes:
        title: The title of its page, or its name.
        image: The image.
    """

    title: str
    image: ImageRef


class ImageSearch(ABC):
    """Finds images like another one."""

    @abstractmethod
    def search(self, sample: Sample, image: Image) -> Sequence[ImageHit]:
        """Return images like a question's, the best first.

        Args:
            sample: The question.
            image: Pixels of its first image, RGB, ``uint8``.

        Raises:
            SearchError: It does not answer.
        """


def image_search_observation(hits: Sequence[ImageHit], most: int = MAX_RESULTS) -> str:
    """Return what a policy reads of an image search, in DeepEyesV2's words, with an ``IMAGE_MARK`` for each image.

    Args:
        hits: All that was found.
        most: How many are shown; where there are more, the policy is told.
    """
    shown = hits[:most]
    rows = [f"{number}. {IMAGE_MARK}\n[{hit.title.replace(IMAGE_MARK, '')}] \n" for number, hit in enumerate(shown, 1)]
    told = f"A Google image search for the image found {len(shown)} results:\n\n## Web Results\n" + "\n\n".join(rows)
    left = len(hits) - len(shown)
    return told + (f"\n\nNote: {left} more were found; {most} images at most are shown." if left else "")


class CachedImageSearch(ImageSearch):
    """Results that were fetched before: the cache files of MMSearch-R1, which DeepEyesV2 uses.

    The file is JSON: ``{index: {"tool_returned_web_title": [text], "cached_images_path": [path or null]}}``. A row
    without an image, or whose image cannot be read, is left out, and the others close ranks. A sample is looked up by
    the ``index`` of its metadata (a row's ``extra_info``), or else by its id.

    Args:
        file: The file.
        image_root: Where its images lie; by default beside it.

    Raises:
        DataError: The file cannot be read, or has another form.
    """

    def __init__(self, file: str | Path, image_root: str | Path | None = None) -> None:
        self.file = Path(file)
        try:
            self._rows = read_json(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file}: cannot be read as an image search cache: {error}") from error
        for index, row in self._rows.items() if isinstance(self._rows, dict) else [("", None)]:
            if not _is_row(row):
                raise DataError(
                    f"{self.file}: {quoted(index)}: needs tool_returned_web_title and cached_images_path, two lists of "
                    "the same length"
                )
        folder = self.file.parent if image_root is None else Path(image_root)
        self._images = ImageFolder(folder)

    def search(self, sample: Sample, image: Image) -> Sequence[ImageHit]:
        """Return the rows of a sample; see ``ImageSearch.search``."""
        row = next((self._rows[key] for key in _keys(sample) if key in self._rows), None)
        if row is None:
            raise SearchError("no images were found")
        hits = []
        for title, path in zip(row["tool_returned_web_title"], row["cached_images_path"], strict=True):
            try:
                if path is not None:
                    found = self._images.image(path)
                    found.pixels()
                    hits.append(ImageHit(title, found))
            except ImageError:
                continue
        return hits


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    titles, paths = row.get("tool_returned_web_title"), row.get("cached_images_path")
    if not isinstance(titles, list) or not isinstance(paths, list) or len(titles) != len(paths):
        return False
    return all(isinstance(title, str) for title in titles) and all(isinstance(path, str | None) for path in paths)


def _keys(sample: Sample) -> list[str]:
    return [str(key) for key in (sample.metadata.get("index"), sample.metadata.get("id"), sample.id) if key is not None]


class FolderImageSearch(ImageSearch):
    """The images below a folder that show what the question's image shows, also where that is a crop of one.

    The index is made with the first search, in memory (about 100 kB and 80 ms an image), and not pickled.

    Args:
        folder: The folder. A file's name, without its suffix, is its title.

    Raises:
        UsageError: It is no folder, or holds no images.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        files = sorted(self.folder.rglob("*")) if self.folder.is_dir() else []
        self._files = [path for path in files if path.suffix.lower() in _SUFFIXES and path.is_file()]
        if not self._files:
            raise UsageError(f"FolderImageSearch({str(folder)!r}): is no folder with images; give one")
        self._lock = threading.Lock()
        self._index: Lookalikes | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderImageSearch, (self.folder,)

    def search(self, sample: Sample, image: Image) -> Sequence[ImageHit]:
        """Return the nearest images; see ``ImageSearch.search``."""
        with self._lock:
            if self._index is None:
                self._index = Lookalikes(map(ImageRef, self._files))
        found = (self._files[number] for number in self._index.find(image, MAX_RESULTS))
        return [ImageHit(path.stem, ImageRef(path)) for path in found]


def get_image_search(search: str | Path | ImageSearch) -> ImageSearch:
    """Return an image search: a folder of images, a cache file in MMSearch-R1's form, or one as it is.

    Raises:
        UsageError: The folder holds no images.
        DataError: The file has another form.
        UsageTypeError: It is none of the three.
    """
    if isinstance(search, ImageSearch):
        return search
    if not isinstance(search, str | Path):
        raise UsageTypeError(f"search is {quoted(search)}; give a folder, a file, or an instance of ImageSearch")
    return CachedImageSearch(search) if Path(search).suffix == ".json" else FolderImageSearch(search)
