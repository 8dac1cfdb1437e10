"""A data set under every condition: without tools, with tools, with its true regions shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from deepeyes_env.agents.counterfactuals.plan import CONDITIONS
from deepeyes_env.agents.evaluation.plan import WITHOUT_TOOLS, with_tools, without_tools
from deepeyes_env.agents.scripted import padded
from deepeyes_env.core import IMAGE_PLACEHOLDER, Sample
from deepeyes_env.data import Dataset
from deepeyes_env.errors import DataError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import PixelBox, Size
from deepeyes_env.images.ops import crop
from deepeyes_env.images.store import shared_store

MARGIN = 0.1
"""Share of a true box's sides that is shown around it."""

WITH_REGIONS = f"{WITHOUT_TOOLS} The part of the image that the question is about is shown again after it."
"""System prompt of a question whose true regions are shown."""


class InConditions:
    """A data set once for each condition: sample ``i`` under condition ``c`` has index ``3 i + c``.

    Args:
        dataset: The samples.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.view: Any = getattr(dataset, "view", None)

    def __len__(self) -> int:
        return len(CONDITIONS) * len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside {len(self)} samples")
        place, condition = divmod(index, len(CONDITIONS))
        return in_condition(self.dataset[place], CONDITIONS[condition])

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def in_condition(sample: Sample, condition: str) -> Sample:
    """Return a sample as it is asked under a condition.

    Raises:
        DataError: Its true regions are to be shown, and it has none.
    """
    if condition == "with":
        return with_tools(sample)
    return without_tools(sample) if condition == "without" else with_regions(sample)


def with_regions(sample: Sample, margin: float = MARGIN) -> Sample:
    """Return a sample as an ordinary question whose true regions are shown after its images.

    Args:
        sample: The sample.
        margin: Share of a box's sides that is added to them, half at either end.

    Raises:
        DataError: It has no true box.
    """
    if not sample.boxes:
        raise DataError(f"sample {sample.id!r}: has no true box, so there is no region to show")
    images = [image.loaded() for image in sample.images]
    truths = [(images[truth.image], truth.box) for truth in sample.regions]
    regions = [ImageRef(Region.of(image, box, margin), name=image.name) for image, box in truths]
    question = sample.question
    if IMAGE_PLACEHOLDER in question:
        question += "\n" + IMAGE_PLACEHOLDER * len(regions)
    return without_tools(replace(sample, question=question, images=(*sample.images, *regions)), WITH_REGIONS)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an image, cut out when its pixels are asked for.

    Attributes:
        image: The image.
        box: ``(x1, y1, x2, y2)`` in its native pixels.
    """

    image: ImageRef
    box: PixelBox

    @classmethod
    def of(cls, image: ImageRef, box: tuple[float, float, float, float], margin: float) -> Region:
        """Return the region of a true box and some margin, large enough to be looked at."""
        x1, y1, x2, y2 = map(round, padded(box, image.size, margin))
        return cls(image, (x1, y1, x2, y2))

    @property
    def key(self) -> str:
        """Text that determines the pixels."""
        return f"{self.image.digest} cut to {self.box}"

    @property
    def size(self) -> Size:
        """``(width, height)`` in pixels."""
        return (self.box[2] - self.box[0], self.box[3] - self.box[1])

    def render(self) -> Image:
        """Return the pixels: ``(H, W, 3)`` ``uint8``."""
        return crop(shared_store().pixels(self.image), self.box)
