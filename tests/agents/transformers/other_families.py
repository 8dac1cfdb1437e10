"""Run beside torchvision: random models of families that only their own processors can play, three turns each."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

from deepeyes_env import VisualToolboxEnv
from deepeyes_env.agents.transformers.generator import Sampling
from deepeyes_env.agents.transformers.processor_agent import ProcessorAgent
from deepeyes_env.data.visual_search import pattern_search
from tests.small_model import byte_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for c in m.content %}"
    "{% if c.type == 'image' %}IMAGE{% else %}{{ c.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ZOOM = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [100, 100, 600, 600]}}</tool_call>'
TEXT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 8192,
}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


def tokenizer_of(folder, named, more=()):
    """Return a tokenizer of bytes that knows a family's tokens by their names."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [*named.values(), *more]})
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, extra_special_tokens=named)


def internvl(folder):
    """Write a random InternVL."""
    from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLProcessor, InternVLVideoProcessor
    from transformers.models.got_ocr2.image_processing_got_ocr2 import GotOcr2ImageProcessor

    named = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = tokenizer_of(folder, named)
    config = InternVLConfig(
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT},
        vision_config={**VISION, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
    )
    size = {"height": 56, "width": 56}
    images = GotOcr2ImageProcessor(size=size, crop_to_patches=True, max_patches=4)
    template = TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>")
    processor = InternVLProcessor(
        images, tokenizer, InternVLVideoProcessor(size=size), image_seq_length=4, chat_template=template
    )
    return InternVLForConditionalGeneration(config), processor


def smolvlm(folder):
    """Write a random SmolVLM."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMProcessor
    from transformers.models.smolvlm.image_processing_smolvlm import SmolVLMImageProcessor
    from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor

    named = {
        "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }  # fmt: skip
    rows = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = tokenizer_of(folder, named, rows)
    config = SmolVLMConfig(
        text_config={"model_type": "llama", "vocab_size": len(tokenizer), **TEXT},
        vision_config={**VISION, "image_size": 56, "patch_size": 14},
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    images = SmolVLMImageProcessor(
        size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, do_image_splitting=True
    )
    video = SmolVLMVideoProcessor(size={"longest_edge": 112}, video_sampling={"fps": 1, "max_frames": 4})
    template = TEMPLATE.replace("IMAGE", "<image>")
    processor = SmolVLMProcessor(images, tokenizer, video, image_seq_len=4, chat_template=template)
    return SmolVLMForConditionalGeneration(config), processor


def played(folder):
    """Return the replies to an episode before each of three turns; their conversations have one to three images."""
    agent = ProcessorAgent(folder, frame="norm1000", sampling=Sampling(0.0, 6))
    env = VisualToolboxEnv(dataset=pattern_search("test", length=3), rubric=None, frame="norm1000")
    env.reset(seed=0)
    replies = []
    for _ in range(3):
        replies += agent.act([env.trajectory])
        env.step(ZOOM)
    return replies


def main(home):
    """Build and play both."""
    torch.set_num_threads(1)
    for make in (internvl, smolvlm):
        folder = home / make.__name__
        torch.manual_seed(0)
        model, processor = make(folder)
        model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
        model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        replies = played(folder)
        assert len(replies) == 3, replies
        assert all(reply.tokens.ids for reply in replies), replies
        sys.stdout.write(f"{make.__name__} played {len(replies)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
