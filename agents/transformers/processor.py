"""Qwen's processor without torchvision: what turns a conversation's text and images into a model's inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BatchFeature
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from deepeyes_env.agents.families import read_model_file
from deepeyes_env.agents.transformers.chat import processor_template
from deepeyes_env.agents.transformers.pixels import patches
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.errors import UsageError


class ImagePatches(Qwen2VLImageProcessorPil):
    """Qwen2-VL's image processor without torchvision; images that fit already are cut into patches in one go."""

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """Return ``pixel_values`` and ``image_grid_thw`` of images, or of lists of images."""
        listed = images if isinstance(images, list | tuple) else [images]
        flat = [image for each in listed for image in (each if isinstance(each, list | tuple) else [each])]
        pixels = [np.asarray(image) for image in flat]
        side = self.patch_size * self.merge_size
        if not all(self._fits(each, side) for each in pixels):
            return super().__call__(flat, *args, **kwargs)
        rows = [[1, each.shape[0] // self.patch_size, each.shape[1] // self.patch_size] for each in pixels]
        frames, mean, std = self.temporal_patch_size, tuple(self.image_mean), tuple(self.image_std)
        cut = patches(pixels, self.patch_size, self.merge_size, frames=frames, mean=mean, std=std)
        return BatchFeature({"pixel_values": cut, "image_grid_thw": torch.tensor(rows)})

    def _fits(self, pixels: np.ndarray, side: int) -> bool:
        height, width = pixels.shape[:2]
        least, most = self.size["shortest_edge"], self.size["longest_edge"]
        return pixels.ndim == 3 and height % side == 0 and width % side == 0 and least <= height * width <= most


class ImageTextProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its half for videos, which needs torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    @property
    def model_input_names(self) -> list[str]:
        """Names of what a model takes."""
        return [*self.tokenizer.model_input_names, *self.image_processor.model_input_names, "mm_token_type_ids"]


def load_processor(folder: str | Path) -> ImageTextProcessor:
    """Return the processing class of a model directory of a family that is run here, ready for ``with_tool_calls``.

    Of images, the processors of all these families make the same tokens.

    Raises:
        UsageError: There is no such model directory, it holds another kind of model, or has no chat template.
        DataError: A file of it is damaged.
    """
    path = Path(folder)
    check_directory(path)
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left", local_files_only=True, trust_remote_code=False)
    template = tokenizer.chat_template or processor_template(path)
    if not template:
        raise UsageError(f"model folder {str(path)!r} has no chat template; add chat_template.jinja")
    written = _image_settings(path)
    known = (
        *("patch_size", "merge_size", "temporal_patch_size", "min_pixels", "max_pixels", "size"),
        *("image_mean", "image_std"),
    )
    images = ImagePatches(**{name: written[name] for name in known if name in written})
    return ImageTextProcessor(images, tokenizer, chat_template=template)


def _image_settings(folder: Path) -> dict[str, Any]:
    """Return how a directory says that images are cut; transformers 5 saves it inside ``processor_config.json``."""
    alone, whole = folder / "preprocessor_config.json", folder / "processor_config.json"
    if alone.is_file():
        return read_model_file(alone)
    inside = read_model_file(whole).get("image_processor") if whole.is_file() else None
    return inside if isinstance(inside, dict) else {}
