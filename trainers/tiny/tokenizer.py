"""The tiny policy's tokenizer: each phrase of the task is one token, everything else is byte-level."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
TAGS = ("think", "tool_call", "tool_response", "answer")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2.5-VL's ChatML, without its default system prompt."""


def build_tokenizer(fragments: Sequence[str]) -> Any:
    """Return a transformers tokenizer with a chat template.

    Args:
        fragments: Texts that are one token each; where several fit, the longest is taken.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tags = [mark for tag in TAGS for mark in (f"<{tag}>", f"</{tag}>")]
    pieces = list(dict.fromkeys([*tags, *fragments]))
    # Byte-level text: every byte is a visible character, so that nothing is unknown and all of it comes back.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelled = [normalizers.ByteLevel().normalize_str(piece) for piece in pieces]
    vocabulary: dict[str, int] = {}
    for token in (*SPECIALS, *spelled, *alphabet):
        vocabulary.setdefault(token, len(vocabulary))
    longest_first = sorted(spelled, key=len, reverse=True)
    pattern = "|".join([*(re.escape(piece) for piece in longest_first), r"[\s\S]"])
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIALS[0]))
    tokenizer.normalizer = normalizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Fuse(), decoders.ByteLevel()])
    tokenizer.add_special_tokens([AddedToken(special, normalized=False) for special in SPECIALS])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
