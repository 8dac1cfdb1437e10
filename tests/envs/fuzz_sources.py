"""Questions about images that are read part by part: a slide, a page, a video, a very large image, and broken ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from deepeyes_env import ImageRef, Sample
from deepeyes_env.images.sources.documents import Page
from deepeyes_env.images.sources.large import LargeImage
from deepeyes_env.images.sources.region_source import RegionSource
from deepeyes_env.images.sources.slides import Slide
from deepeyes_env.images.sources.videos import Frame
from tests.pdf_files import pdf
from tests.slide_files import Level, levels_of, write_slide
from tests.video_files import write_video

TILE = 128


def written(folder: Path, pixels: np.ndarray) -> Iterator[RegionSource]:
    """Write a file of each kind, and give what reads it; of the last slide a tile of the finest level is broken."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = levels_of(pixels, TILE)
    write_slide(folder / "scan.svs", levels, TILE)
    yield Slide(folder / "scan.svs")
    finest = levels[0]
    hole = Level(finest.size, lambda x, y: b"\xff\xd8\xff\xdb" + bytes(40) if x == 1 else finest.tile(x, y))
    write_slide(folder / "broken.svs", [hole, levels[1]], TILE)
    yield Slide(folder / "broken.svs")
    (folder / "page.pdf").write_bytes(pdf(b"1 0 0 rg 30 30 99 50 re f 0 0 1 rg 200 200 9 9 re f", (320, 240), pages=2))
    yield Page(folder / "page.pdf", 2)
    write_video(folder / "clip.mp4", 60, Fraction(10), key_every=20)
    yield Frame(folder / "clip.mp4", 2.0)
    if importlib.util.find_spec("pyvips") is not None:
        PILImage.fromarray(pixels).save(folder / "large.jpg")
        yield LargeImage(folder / "large.jpg")


def questions(folder: Path, like: Sample, toolboxes: list[str]) -> list[Sample]:
    """Return one question for each kind and toolbox: the image of a file first, and an ordinary one behind it."""
    pixels = like.images[0].pixels()
    return [
        Sample(
            f"{type(source).__name__} {toolbox}", like.question, like.answer, (ImageRef(source), pixels),
            boxes=((0.0, 0.0, 40.0, 40.0),), options=like.options, env_name=toolbox, data_source="vstar",
        )
        for source in written(folder, pixels)
        for toolbox in toolboxes
    ]  # fmt: skip
