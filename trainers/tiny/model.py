"""The tiny policy's network: a stock Qwen2.5-VL or Qwen3-VL with 0.6 million parameters."""

from __future__ import annotations

from typing import Any

import torch

from deepeyes_env.agents.transformers.architecture import architecture_of
from deepeyes_env.trainers.tiny.task import TINY, TinyTask

HIDDEN, LAYERS, HEADS = 96, 3, 3
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS = 64, 2, 2

ROPE_THETA = 1e6
"""Most dimensions of a head hardly turn over the length of an episode: a colour is found wherever it stands."""

_PROCESSOR_CLASSES = {"qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}


def processor_settings(task: TinyTask = TINY) -> dict[str, Any]:
    """Return ``preprocessor_config.json``: what a server does to images. Those that an environment shows fit."""
    architecture = architecture_of(task.family)
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": _PROCESSOR_CLASSES[task.family],
        "patch_size": task.cell // 2,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "min_pixels": (2 * task.cell) ** 2,
        "max_pixels": (128 * task.cell) ** 2,
        "image_mean": architecture.mean,
        "image_std": architecture.std,
    }


def build_model(tokenizer: Any, seed: int = 0, task: TinyTask = TINY) -> Any:
    """Return an untrained model of a family for a tokenizer.

    Weights are drawn with variance 1 / (number of inputs): with transformers' 0.02 so small a network hardly learns.
    Deep features (Qwen3-VL) begin at 0: they are added to the text before anything else has learned to read them.
    """
    ids = tokenizer.get_vocab()
    model_class = architecture_of(task.family).model_class
    own = _qwen3_vl if task.family == "qwen3_vl" else _qwen2_5_vl
    text, vision = own(task)
    config = model_class.config_class(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 256,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": 4096,
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            **text,
        },
        vision_config={
            "depth": VISION_LAYERS,
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": 128,
            "num_heads": VISION_HEADS,
            "out_hidden_size": HIDDEN,
            "patch_size": task.cell // 2,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            **vision,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = model_class._from_config(config, attn_implementation="sdpa")
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "deepstack_merger_list" in name and "linear_fc2" in name:
                weight.zero_()
            elif weight.ndim >= 2 and "embed_tokens" not in name:
                weight.normal_(0, weight[0].numel() ** -0.5)
    return model.float()


def _qwen2_5_vl(task: TinyTask) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what only a Qwen2.5-VL has, of its text and of its vision."""
    rope = {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": [4, 6, 6]}
    return {"rope_parameters": rope}, {"window_size": task.side, "fullatt_block_indexes": [VISION_LAYERS - 1]}


def _qwen3_vl(task: TinyTask) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what only a Qwen3-VL has: a size of heads, learned positions (one a patch of the view), deep features."""
    rope = {
        "rope_type": "default",
        "rope_theta": ROPE_THETA,
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
    }
    patches = (2 * task.side // task.cell) ** 2
    return (
        {"rope_parameters": rope, "head_dim": HIDDEN // HEADS},
        {"num_position_embeddings": patches, "deepstack_visual_indexes": [0]},
    )
