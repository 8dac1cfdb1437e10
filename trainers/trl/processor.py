"""The processing class: a chat template that TRL can write tool calls with, and tokens that are not sampled."""

from __future__ import annotations

from typing import Any

from trl import chat_template_utils

from deepeyes_env.agents.transformers.processor import ImageTextProcessor, load_processor
from deepeyes_env.errors import UsageError

__all__ = ["TOOL_CALLS", "ImageTextProcessor", "load_processor", "unsampled_tokens", "with_tool_calls"]

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
