"""Architecture: how a model of a family is run here, so that it generates, is trained, and shares its prompts.

The modules are transformers' own, and a model directory is loaded by transformers' class. What is ours are the loops
around them (``vision.py``, ``language.py``), which the tests hold to transformers' forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from deepeyes_env.agents.families import FAMILIES, local_families
from deepeyes_env.agents.transformers.pixels import MEAN, STD, Channels
from deepeyes_env.agents.transformers.vision import encode_images
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import Size


def chunked(sections: Sequence[int]) -> list[int]:
    """Return the axis along which each pair of channels turns: time first, then height, then width.

    M-RoPE of Qwen2-VL (arXiv 2409.12191).

    Args:
        sections: How many pairs turn along each axis (``mrope_section``).
    """
    return [axis for axis, pairs in enumerate(sections) for _ in range(pairs)]


def interleaved(sections: Sequence[int]) -> list[int]:
    """Return the axis along which each pair of channels turns: the three in turn, and only time at the end.

    Interleaved M-RoPE of Qwen3-VL (arXiv 2511.21631).

    Args:
        sections: How many pairs turn along each axis (``mrope_section``).
    """
    axes = [0] * sum(sections)
    for axis in (1, 2):
        axes[axis : 3 * sections[axis] : 3] = [axis] * len(axes[axis : 3 * sections[axis] : 3])
    return axes


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a model of a family is run.

    Attributes:
        model_class: transformers' class; its ``model`` holds ``visual`` and ``language_model``.
        rotary_axes: Returns, of ``mrope_section``, the axis along which each pair of channels turns.
        mean: What is subtracted from the channels of an image in [0, 1].
        std: What they are divided by then.
        encode_images: Runs the vision tower; see ``vision.encode_images``.
    """

    model_class: Any
    rotary_axes: Callable[[Sequence[int]], Sequence[int]] = chunked
    mean: Channels = MEAN
    std: Channels = STD
    encode_images: Callable[[Any, torch.Tensor, Sequence[Size]], torch.Tensor] = encode_images


def qwen2_vl() -> Architecture:
    """Return how a Qwen2-VL is run."""
    from transformers import Qwen2VLForConditionalGeneration

    return Architecture(Qwen2VLForConditionalGeneration)


def qwen2_5_vl() -> Architecture:
    """Return how a Qwen2.5-VL is run."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Architecture(Qwen2_5_VLForConditionalGeneration)


def qwen3_vl() -> Architecture:
    """Return how a dense Qwen3-VL is run."""
    from transformers import Qwen3VLForConditionalGeneration

    return Architecture(Qwen3VLForConditionalGeneration, interleaved, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def architecture_of(model_type: str) -> Architecture:
    """Return how a model of a family is run.

    Raises:
        UsageError: Models of that family are not run here.
    """
    family = FAMILIES.find(model_type)
    if family is None or family.architecture is None:
        raise UsageError(
            f"model_type {model_type!r}: no model of that family is run here; known: {', '.join(local_families())}"
        )
    return _made(family.architecture)


@cache
def _made(architecture: Callable[[], Architecture]) -> Architecture:
    return architecture()
