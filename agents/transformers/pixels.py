"""From images to the patches that a vision tower takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch

from deepeyes_env.errors import UsageError
from deepeyes_env.images.codec import Image

Channels: TypeAlias = tuple[float, ...]
"""A number for each of red, green and blue."""

MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
STD: Channels = (0.26862954, 0.26130258, 0.27577711)
"""Of the channels in [0, 1]: those of CLIP, which the image processor of Qwen2-VL and Qwen2.5-VL uses."""


def patches(
    images: Sequence[Image],
    patch: int,
    merge: int,
    device: torch.device | str = "cpu",
    *,
    frames: int = 1,
    mean: Channels = MEAN,
    std: Channels = STD,
) -> torch.Tensor:
    """Cut images into normalised patches, as ``Qwen2VLImageProcessor`` does without its resizing.

    Images travel to the device as bytes and are normalised there.

    Args:
        images: ``(H, W, 3)`` ``uint8``; sides are multiples of ``patch * merge``.
        patch: Side of a patch in pixels.
        merge: Side, in patches, of what becomes one image token; patches of one token lie next to each other.
        device: Where to put the patches.
        frames: How often each patch is repeated; the processor repeats a still image as two equal frames.
        mean: What is subtracted from the channels in [0, 1].
        std: What they are divided by then.

    Returns:
        ``(sum of H / patch * W / patch, 3 * frames * patch * patch)`` ``float32``.

    Raises:
        UsageError: An image has another size.
    """
    rows = []
    for group in _of_equal_shape(images):
        height, width = group[0].shape[:2]
        if height % (patch * merge) or width % (patch * merge):
            raise UsageError(
                f"an image of {width} x {height} pixels was shown to a model that needs multiples of {patch * merge}; "
                f"give the environment a view budget: view=ViewBudget(min_pixels, max_pixels, factor={patch * merge})"
            )
        rows.append(_cut(torch.from_numpy(np.stack(group)).to(device), patch, merge, frames, mean, std))
    return torch.cat(rows)


def _of_equal_shape(images: Sequence[Image]) -> list[list[Image]]:
    """Divide a list of images into runs of equal shape, in order."""
    runs: list[list[Image]] = []
    for image in images:
        if runs and runs[-1][0].shape == image.shape:
            runs[-1].append(image)
        else:
            runs.append([image])
    return runs


def _cut(pixels: torch.Tensor, patch: int, merge: int, frames: int, mean: Channels, std: Channels) -> torch.Tensor:
    number, height, width, _ = pixels.shape
    down, across = height // (patch * merge), width // (patch * merge)
    cells = pixels.reshape(number, down, merge, patch, across, merge, patch, 3)
    # Bytes are moved rather than floats, and channels normalised where the pixels of one lie next to each other.
    cells = cells.permute(0, 1, 4, 2, 5, 7, 3, 6)  # image, cell row, cell column, row, column, channel, y, x
    middle, spread = (pixels.new_tensor(each, dtype=torch.float32)[:, None] for each in (mean, std))
    normal = cells.reshape(-1, 3, patch * patch).float().div_(255).sub_(middle).div_(spread)
    return normal[:, :, None].expand(-1, -1, frames, -1).reshape(len(normal), -1)
