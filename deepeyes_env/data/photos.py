"""A data set from real photographs: small marked objects planted in them, written as DeepEyes-format parquet."""

from __future__ import annotations

import io
import logging
import math
import random
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data.visual_search.backgrounds import find_photos, photo_size
from deepeyes_env.data.visual_search.dataset import MIN_DETAIL, Split, VisualSearch
from deepeyes_env.data.visual_search.questions import TASKS, Task
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.terminal import console

logger = logging.getLogger(__name__)


def plant(
    photos: str | Path,
    out: str | Path,
    *,
    samples_per_photo: int = 8,
    split: Split = "train",
    seed: int = 0,
    view: ViewBudget | None = None,
    tasks: tuple[Task, ...] = TASKS,
    objects: tuple[int, int] = (2, 6),
    easy: float = 0.3,
    max_side: int | None = None,
    quality: int = 92,
) -> int:
    """Plant questions of ``VisualSearch`` in photographs and write them as DeepEyes-format parquet.

    Images are JPEG with full colour resolution (4:4:4), in which hidden details survive and stay hidden. One photograph
    is in memory at a time.

    A parquet file cannot say at which view it is to be seen: show it with a budget of the ``max_pixels`` of ``view``,
    else hidden details may show. ``min_pixels`` is free, and a larger one enlarges crops: at the default,
    ``ViewBudget()``, letters on a 4K photograph are 7 pixels high, and easier to read with ``min_pixels=448 * 448``.

    Photographs keep their size if it is at least 6.25 times ``max_pixels`` (3340 x 1880 at the default), and are
    enlarged to that otherwise.

    Args:
        photos: A folder of photographs in any format that Pillow reads, searched with its subfolders.
        out: The parquet file to write.
        samples_per_photo: Questions for each photograph.
        split: Which split's scenes to plant; those of different splits are never equal.
        seed: Another seed, other questions.
        view: The view at which details are hidden; default ``ViewBudget()``.
        tasks: Which questions to ask; see ``VisualSearch``.
        objects: Least and largest number of objects in a photograph.
        easy: Share of the questions that can be answered from the view.
        max_side: Scale longer photographs down to this many pixels on the longer side, as far as details allow.
        quality: JPEG quality.

    Returns:
        The number of samples written.

    Raises:
        UsageError: The folder does not exist or holds no readable photograph; the message names it.
        DataError: No photograph could be used; the message says why.
        MissingExtraError: pyarrow or rich is not installed.
    """
    from deepeyes_env.data.parquet import write_parquet

    if samples_per_photo < 1:
        raise UsageError(f"samples_per_photo={samples_per_photo}: needs 1 or more")
    budget = view or ViewBudget()
    folder = Path(photos)
    files = {file.relative_to(folder).as_posix() if file != folder else file.name: file for file in find_photos(folder)}
    task = partial(
        VisualSearch,
        split=split,
        length=samples_per_photo,
        view=budget,
        tasks=tasks,
        objects=objects,
        easy=easy,
    )
    written = 0

    def samples() -> Iterator[Sample]:
        nonlocal written
        problems = []
        for name, file in _progress(files.items()):
            number = random.Random(f"{seed}/{name}").getrandbits(32)
            try:
                planted = task(seed=number, size=_planted_size(photo_size(file), budget, max_side), backgrounds=file)
                for index, sample in enumerate(planted):
                    image = _jpeg(sample.images[0].pixels(), quality)
                    yield replace(sample, id=f"{name}/{index}", images=(ImageRef(image),))
                    written += 1
            except ValueError as error:
                problems.append(f"{name}: {error}")
                logger.warning("skipped photo %s", problems[-1])
        if not written:
            raise DataError(f"{photos}: none of {len(files)} photos can be used; the first: {problems[0]}")

    write_parquet(samples(), out)
    return written


def _progress(files: Collection[tuple[str, Path]]) -> Iterable[tuple[str, Path]]:
    with needs_extra("cli"):
        from rich.progress import track
    return track(files, "planting", len(files), console=console(stderr=True))


def _planted_size(photo: Size, view: ViewBudget, max_side: int | None) -> Size:
    width, height = photo
    scale = min(1.0, max_side / max(photo)) if max_side else 1.0
    # ViewBudget.fit shrinks each side at least by the square root of pixels over max_pixels.
    scale = max(scale, MIN_DETAIL * math.sqrt(view.max_pixels / (width * height)))
    return (math.ceil(width * scale), math.ceil(height * scale))


def _jpeg(pixels: Image, quality: int) -> bytes:
    data = io.BytesIO()
    PILImage.fromarray(pixels).save(data, "JPEG", quality=quality, subsampling="4:4:4")
    return data.getvalue()
