"""The processing class: images without torchvision, and a chat template that TRL can write tool calls with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, BatchFeature
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin
from trl import chat_template_utils

from deepeyes_env.agents.families import read_model_file
from deepeyes_env.agents.transformers.chat import processor_template
from deepeyes_env.agents.transformers.pixels import patches
from deepeyes_env.agents.transformers.policy import check_directory
from deepeyes_env.errors import UsageError

TOOL_CALLS = """
{%- set tools = none -%}
{%- set rewritten = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- set rewritten.messages = rewritten.messages + [{'role': 'user', 'content': message.content}] -%}
{%- elif message.tool_calls -%}
{%- set written = namespace(parts=[]) -%}
{%- if message.content is string -%}
{%- set written.parts = [{'type': 'text', 'text': message.content}] -%}
{%- elif message.content -%}
{%- set written.parts = message.content -%}
{%- endif -%}
{%- for call in message.tool_calls -%}
{%- set text = '<tool_call>\\n' ~ (call.function | tojson) ~ '\\n</tool_call>' -%}
{%- set written.parts = written.parts + [{'type': 'text', 'text': text}] -%}
{%- endfor -%}
{%- set rewritten.messages = rewritten.messages + [{'role': 'assistant', 'content': written.parts}] -%}
{%- else -%}
{%- set rewritten.messages = rewritten.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = rewritten.messages -%}
"""
"""Before a chat template: what tools answer becomes a user message, as our environments' text protocols have it.

The tools are explained by the environment's own system prompt, so the template is told of none.
"""


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
        cut = patches(pixels, self.patch_size, self.merge_size, frames=self.temporal_patch_size)
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
    """Return the processing class of a model directory of the Qwen2.5-VL kind, ready for ``with_tool_calls``.

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
    settings = path / "preprocessor_config.json"
    written = read_model_file(settings) if settings.is_file() else {}
    known = ("patch_size", "merge_size", "temporal_patch_size", "min_pixels", "max_pixels", "image_mean", "image_std")
    images = ImagePatches(**{name: written[name] for name in known if name in written})
    return ImageTextProcessor(images, tokenizer, chat_template=template)


def with_tool_calls(processor: Any) -> Any:
    """Give a processing class what TRL asks for to run tools; returns the same one.

    Its chat template learns to write tool calls and what tools answer, in the words of our text protocols; its
    tokenizer learns to read calls; prompts are padded on the left.

    Raises:
        UsageError: It has no chat template.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    template = getattr(processor, "chat_template", None) or tokenizer.chat_template
    if not template:
        raise UsageError("the processing class has no chat template")
    if not template.startswith(TOOL_CALLS):
        processor.chat_template = tokenizer.chat_template = TOOL_CALLS + template
    tokenizer.padding_side = "left"
    if getattr(chat_template_utils, "_SUPPORTS_RESPONSE_TEMPLATE", False):
        tokenizer.response_template = chat_template_utils.qwen3_template
    else:
        tokenizer.response_schema = chat_template_utils.qwen3_schema
    return processor


def unsampled_tokens(processor: Any, model: Any) -> list[int]:
    """Return ids that a policy must not sample: an image token that it wrote itself would stand for no image.

    For ``GRPOConfig(generation_kwargs={"suppress_tokens": ...})``.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    stop = model.generation_config.eos_token_id
    stops = {tokenizer.eos_token_id, *(stop if isinstance(stop, list) else [stop])}
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(special - stops)
