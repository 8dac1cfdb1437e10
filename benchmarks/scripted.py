"""What a scripted policy writes about a 4K image: calls of the zoom tool, each on a megapixel, then an answer."""

from __future__ import annotations

import json
import random

SIZE = (3840, 2160)
MOST_PIXELS = 1280 * 28 * 28
CROP = (1008, 980)
"""Multiples of 28 within ``MOST_PIXELS``: shown as it is cut, by whoever cuts it."""

QUESTION = "Which colour is the sign?"
OPTIONS = ("red", "green", "blue", "yellow")
ANSWER = "<think>I can read it now.</think><answer>A</answer>"


def boxes(seed: int, calls: int) -> list[list[int]]:
    """Return boxes of ``CROP`` in the image's own pixels."""
    rng = random.Random(seed)
    corners = ((rng.randrange(SIZE[0] - CROP[0]), rng.randrange(SIZE[1] - CROP[1])) for _ in range(calls))
    return [[x, y, x + CROP[0], y + CROP[1]] for x, y in corners]


def messages(seed: int, calls: int) -> list[str]:
    """Return what the policy writes in one rollout."""
    return [*map(zoom, boxes(seed, calls)), ANSWER]


def zoom(box: list[int]) -> str:
    """Write a call."""
    call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box, "label": "sign"}}
    return f"<think>The sign is small.</think><tool_call>\n{json.dumps(call)}\n</tool_call>"
