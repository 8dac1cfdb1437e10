"""A tiny Qwen2.5-VL that calls tools: built from nothing and fitted on a handful of transcripts in seconds.

Heads are 32 wide: vLLM runs nothing narrower. It looks once, at the middle of the image, and answers B: whether that is
right is chance, but every call is a real one, which a real server has sampled and parsed.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from deepeyes_env import VisualToolboxEnv
from deepeyes_env.agents.openai.requests import Place
from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import causal_mask
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.positions import rotary_positions
from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget
from deepeyes_env.protocols import RETURNED

SPECIALS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>",
    "<|video_pad|>",
)  # fmt: skip
TAGS = tuple(f"<{end}{tag}>" for tag in ("think", "tool_call", "tool_response", "answer") for end in ("", "/"))
VIEW = ViewBudget(112 * 112, 112 * 112)
BOX = [21, 34, 87, 95]
ANSWER = "B"
GARBLED = 0.1
"""Share of the prompt's tokens that are replaced by others while fitting, so that other questions change nothing."""

TEMPLATE = """
{%- macro said(content) -%}
{%- if content is string -%}{{ content }}{%- else -%}{%- for part in content or [] -%}
{%- if part.type in ('image', 'image_url') -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.text is defined -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endif -%}
{%- endmacro -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' -}}
{%- if messages[0].role == 'system' -%}{{- said(messages[0].content) + '\\n' -}}{%- endif -%}
{{- '# Tools\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' + tool.function.name -}}{%- endfor -%}
{{- '\\n</tools><|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|im_start|>user\\n<tool_response>' + said(message.content) + '</tool_response><|im_end|>\\n' -}}
{%- elif message.role == 'system' and tools -%}
{%- else -%}
{{- '<|im_start|>' + message.role + '\\n' + said(message.content) -}}
{%- for call in message.tool_calls or [] -%}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- (call.function.arguments if call.function.arguments is string else call.function.arguments | tojson) -}}
{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""ChatML with tools by name, tool calls in the Hermes format, and images wherever a message holds some."""

SAID = re.compile(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.DOTALL)
"""What the assistant says, in a rendered transcript."""

TEXT, NATIVE = "VisualToolbox-v2", "VisualToolboxNative-v0"
"""Environments that the model is fitted for."""

Transcript = tuple[list[dict[str, Any]], list[dict[str, Any]] | None, list[Any]]
"""Messages, the schemas that travel beside them, and images."""


def environment(toolbox: str, **kwargs: Any) -> VisualToolboxEnv:
    """Return the environment that the model was fitted for."""
    return VisualToolboxEnv(toolbox, pattern_search(length=100), view=VIEW, rubric=None, **kwargs)


def transcripts(toolbox: str, number: int, place: Place = "tool") -> list[Transcript]:
    """Return episodes as they should go: look at the middle, then answer.

    Args:
        toolbox: Where they are played.
        number: How many.
        place: Where the images of tool messages go.
    """
    env = environment(toolbox)
    native = toolbox == NATIVE
    told = []
    for seed in range(number):
        observation, info = env.reset(seed=seed)
        name = info["tools"][0]["function"]["name"]
        call = {"name": name, "arguments": {"bbox_2d": BOX}}
        action = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
        after, *_ = env.step(action)
        answer = ANSWER if native else f"<answer>{ANSWER}</answer>"
        system = [{"role": "system", "content": info["system_prompt"]}] if info["system_prompt"] else []
        messages = [
            *system,
            {"role": "user", "content": _parts(observation["text"])},
            {"role": "assistant", "content": action},
            *_heard(after["text"], native, place),
            {"role": "assistant", "content": answer},
        ]
        told.append((messages, list(info["tools"]) if native else None, [*observation["images"], *after["images"]]))
    return told


def _heard(text: str, native: bool, place: Place) -> list[dict[str, Any]]:
    if not native:
        return [{"role": "user", "content": _parts(text)}]
    if place == "tool":
        return [{"role": "tool", "content": _parts(text)}]
    returned = [{"type": "text", "text": RETURNED}, {"type": "image"}]
    return [{"role": "tool", "content": "The image follows."}, {"role": "user", "content": returned}]


def _parts(text: str) -> list[dict[str, str]]:
    parts: list[dict[str, str]] = []
    for number, piece in enumerate(text.split(IMAGE_PLACEHOLDER)):
        parts += [{"type": "image"}] * (number > 0)
        parts += [{"type": "text", "text": piece}] * bool(piece)
    return parts


def make_tokenizer(corpus: Sequence[str]) -> Any:
    """Return a byte-level tokenizer, trained on the transcripts so that prompts are short."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet))
    tokenizer.add_special_tokens([AddedToken(special, normalized=False) for special in SPECIALS])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIALS[1:]),
        model_max_length=4096,
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def make_model(tokenizer: Any, seed: int = 0) -> Any:
    """Return an untrained ``Qwen2_5_VLForConditionalGeneration``, heads 32 wide."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {special: tokenizer.convert_tokens_to_ids(special) for special in SPECIALS}
    end, pad = ids["<|im_end|>"], ids["<|endoftext|>"]
    config = Qwen2_5_VLConfig(
        text_config={
            "model_type": "qwen2_5_vl_text", "vocab_size": -(-len(tokenizer) // 64) * 64, "hidden_size": 128,
            "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 4096, "bos_token_id": None, "eos_token_id": end, "pad_token_id": pad,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        },
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 128, "num_heads": 2, "out_hidden_size": 128,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 56,
            "fullatt_block_indexes": [1], "in_channels": 3, "in_chans": 3,
        },
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
    )  # fmt: skip
    config.eos_token_id, config.pad_token_id = end, pad
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa").float()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.normal_(0, weight[0].numel() ** -0.5)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = [end, pad], pad
    return model


def fit(policy: VisionPolicy, told: Sequence[Transcript], steps: int = 220, lr: float = 3e-3) -> float:
    """Learn the assistant's messages by heart, whatever the images show; returns the mean of the last losses."""
    rng = np.random.default_rng(0)
    noise = torch.Generator().manual_seed(0)
    examples = [_Example.of(policy, *transcript) for transcript in told]
    weights = [*policy.model.model.language_model.parameters(), *policy.model.lm_head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.0)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 10) * (1 - step / steps)
        drawn = rng.choice(len(examples), 4, replace=False).tolist()
        loss = torch.stack([examples[number].loss(policy, noise) for number in drawn]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses[-10:]))


@dataclass(frozen=True)
class _Example:
    """A transcript as tokens ``(1, L)``, positions ``(3, 1, L)``, what the assistant says ``(L - 1,)``, and images."""

    tokens: torch.Tensor
    positions: torch.Tensor
    said: torch.Tensor
    features: torch.Tensor

    @classmethod
    def of(cls, policy: VisionPolicy, messages: Any, tools: Any, images: Any) -> _Example:
        refs = [ImageRef.of(np.asarray(image)) for image in images]
        text = policy.tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
        grids = [policy.grid(ref) for ref in refs]
        unseen = iter(grids)
        ids: list[int] = []
        said: list[bool] = []
        # Odd parts are what the assistant says.
        for number, part in enumerate(
            re.split(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", text, flags=re.DOTALL)
        ):
            for token in policy.tokenizer(part, add_special_tokens=False).input_ids:
                columns, rows = next(unseen) if token == policy.image_token else (1, 1)
                ids += [token] * (columns * rows)
                said += [number % 2 == 1] * (columns * rows)
        numbers = np.array(ids)
        with torch.no_grad():
            features = torch.cat(policy.image_features(refs))
        positions = torch.from_numpy(rotary_positions(numbers, grids, policy.image_token)[0])[:, None]
        return cls(torch.from_numpy(numbers)[None], positions, torch.tensor(said[1:]), features)

    def loss(self, policy: VisionPolicy, noise: torch.Generator) -> torch.Tensor:
        """Return the cross entropy of what the assistant says, with images and words that are partly noise."""
        attention = MaskedAttention(causal_mask(torch.ones_like(self.tokens, dtype=torch.bool)))
        blur = torch.randn(self.features.shape, generator=noise) * self.features.std()
        mixed = torch.lerp(self.features, blur, float(torch.rand((), generator=noise)))
        ordinary = (self.tokens < len(policy.tokenizer) - len(SPECIALS) - len(TAGS)) & ~F.pad(self.said, (1, 0))
        other = torch.randint(0, 256, self.tokens.shape, generator=noise)
        garbled = ordinary & (torch.rand(self.tokens.shape, generator=noise) < GARBLED)
        hidden = policy.hidden(torch.where(garbled, other, self.tokens), self.positions, attention, [mixed])
        logits = policy.model.lm_head(hidden[0, :-1][self.said])
        return F.cross_entropy(logits, self.tokens[0, 1:][self.said])


def build(folder: Path, seed: int = 0) -> Mapping[str, float]:
    """Write a model directory that servers load; returns the loss and the seconds that it took."""
    began = time.perf_counter()
    told = [*transcripts(TEXT, 16), *transcripts(NATIVE, 16), *transcripts(NATIVE, 8, "user")]
    corpus = [part if isinstance(part, str) else part.get("text", "") for part in _texts(told)]
    tokenizer = make_tokenizer(corpus * 3)
    policy = VisionPolicy(make_model(tokenizer, seed), tokenizer)
    loss = fit(policy, told)
    policy.save(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    return {"loss": loss, "seconds": time.perf_counter() - began}


PROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor", "patch_size": 14,
    "merge_size": 2, "temporal_patch_size": 2, "min_pixels": 56 * 56, "max_pixels": 64 * 28 * 28,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip


def _texts(told: Sequence[Transcript]) -> list[Any]:
    contents = [message["content"] for messages, _, _ in told for message in messages]
    return [part for content in contents for part in ([content] if isinstance(content, str) else content)]
