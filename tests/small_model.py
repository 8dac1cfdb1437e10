"""A small Qwen2.5-VL with random weights and a tokenizer of single bytes, built on the spot."""

from __future__ import annotations

import torch

SPECIALS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(special, normalized=False) for special in SPECIALS])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    wrapped.chat_template = TEMPLATE
    return wrapped


PATCH = {"qwen2_vl": 14, "qwen2_5_vl": 14, "qwen3_vl": 16}
"""Side of a patch in pixels; two by two of them are an image token."""


def random_model(tokenizer, seed=0, family="qwen2_5_vl", gain=1.5, model_class=None, **text):
    """A model with random weights; ``text`` changes the configuration of its language model."""
    config_class, usual, vision = FAMILIES[family]()
    if model_class is not None:
        config_class, usual = model_class.config_class, model_class
    tied = text.pop("tie_word_embeddings", False)
    ids = {special: tokenizer.convert_tokens_to_ids(special) for special in SPECIALS}
    head = text.get("head_dim", text.get("hidden_size", 64) // text.get("num_attention_heads", 4))
    side = 3 * head // 16
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [head // 2 - 2 * side, side, side]}
    hidden = text.get("hidden_size", 64)
    config = config_class(
        text_config={
            "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": head,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "rope_parameters": rope,
            "bos_token_id": None, "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], **text,
        },
        vision_config=vision(hidden),
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = usual._from_config(config, attn_implementation="sdpa")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim >= 2:
                weight.normal_(0, gain * weight[0].numel() ** -0.5)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
    return model.float().eval()


def _qwen2_vl():
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 3, "embed_dim": 64, "mlp_ratio": 2, "num_heads": 2, "patch_size": PATCH["qwen2_vl"]}
    return (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        lambda hidden: {**vision, **MERGED, "hidden_size": hidden, "hidden_act": "quick_gelu"},
    )


def _qwen2_5_vl():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        "depth": 3, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "patch_size": PATCH["qwen2_5_vl"],
        "window_size": 56, "fullatt_block_indexes": [1],
    }  # fmt: skip
    return (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        lambda hidden: {**vision, **MERGED, "out_hidden_size": hidden},
    )


def _qwen3_vl():
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {
        "depth": 3, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "patch_size": PATCH["qwen3_vl"],
        "num_position_embeddings": 49, "deepstack_visual_indexes": [0, 1],
    }  # fmt: skip
    return (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        lambda hidden: {**vision, **MERGED, "out_hidden_size": hidden},
    )


MERGED = {"spatial_merge_size": 2, "temporal_patch_size": 2}
FAMILIES = {"qwen2_vl": _qwen2_vl, "qwen2_5_vl": _qwen2_5_vl, "qwen3_vl": _qwen3_vl}
