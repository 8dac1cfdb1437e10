"""The tiny policy's network: a stock Qwen2.5-VL with 0.6 million parameters."""

from __future__ import annotations

from typing import Any

import torch

from deepeyes_env.agents.transformers.pixels import MEAN, STD

HIDDEN, LAYERS, HEADS = 96, 3, 3
VISION_HIDDEN, VISION_LAYERS, VISION_HEADS = 64, 2, 2

PROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "min_pixels": 56 * 56,
    "max_pixels": 3584 * 3584,
    "image_mean": MEAN,
    "image_std": STD,
}
"""``preprocessor_config.json``: what a server does to images. Those that an environment shows fit already."""

ROPE_THETA = 1e6
"""Most dimensions of a head hardly turn over the length of an episode: a colour is found wherever it stands."""


def build_model(tokenizer: Any, seed: int = 0) -> Any:
    """Return an untrained ``Qwen2_5_VLForConditionalGeneration`` for a tokenizer.

    Weights are drawn with variance 1 / (number of inputs): with transformers' 0.02 so small a network hardly learns.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = tokenizer.get_vocab()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 256,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": VISION_LAYERS,
            "hidden_size": VISION_HIDDEN,
            "intermediate_size": 128,
            "num_heads": VISION_HEADS,
            "out_hidden_size": HIDDEN,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [VISION_LAYERS - 1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and "embed_tokens" not in name:
                weight.normal_(0, weight[0].numel() ** -0.5)
    return model.float()
