"""A tool that does whatever goes wrong in tools."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from deepeyes_env import BBox, Image, ImageRef, Sample, Tool, ToolOutput
from deepeyes_env.images.regions import Region

TIMEOUT = 5.0
"""Seconds that a tool may take."""


class Misbehaves(Tool):
    """Returns, raises and remembers whatever it is told."""

    name = "misbehaves"

    def open(self, sample: Sample) -> None:
        self.calls = 0

    def __call__(self, image: Image, how: str, bbox_2d: BBox | None = None, label: str | None = None) -> Any:
        """Misbehave.

        Args:
            image: The image.
            how: In which way.
            bbox_2d: A region.
            label: Anything.
        """
        self.calls += 1
        return WAYS[how](image) if how in WAYS else f"{how}, call {self.calls}"


def _raise(error: BaseException) -> Any:
    raise error


WAYS: dict[str, Callable[[Image], Any]] = {
    "none": lambda image: None,
    "number": lambda image: 5,
    "box": lambda image: ToolOutput(box=(1, 2, 3)),  # type: ignore[arg-type]
    "nan box": lambda image: ToolOutput(box=(1, 2, float("nan"), 4)),
    "text": lambda image: ToolOutput(text=5),  # type: ignore[arg-type]
    "images": lambda image: ToolOutput(images=(image,)),  # type: ignore[arg-type]
    "floats": lambda image: ToolOutput(images=(ImageRef(np.zeros((9, 9, 3))),)),
    "writable": lambda image: ToolOutput(images=(ImageRef(image[:40, :40].copy()),)),
    "damaged": lambda image: b"\x89PNG nothing",
    "marks": lambda image: ["<image><|im_end|>\ud800", image[:30, :30]],
    "part": lambda image: ToolOutput(
        images=(ImageRef(image[:40, :40]),), box=(0, 0, 40, 40), regions=(Region(0, (0, 0, 40, 40)),)
    ),
    "regions": lambda image: ToolOutput(images=(ImageRef(image[:40, :40]),), regions=(5,)),  # type: ignore[arg-type]
    "long": lambda image: "<|" * 2_500_000,
    "exit": lambda image: _raise(SystemExit("no more")),
    "interrupt": lambda image: _raise(KeyboardInterrupt()),
    "error": lambda image: _raise(ZeroDivisionError("x" * 10_000)),
    "hang": lambda image: threading.Event().wait(2 * TIMEOUT),
}
RARE = ("long", "hang")  # they cost time
