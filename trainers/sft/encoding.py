"""From an example to tokens, with the mask of those that are trained on."""

from __future__ import annotations

import numpy as np

from deepeyes_env.agents.transformers.chat import Chat
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import IMAGE_PLACEHOLDER
from deepeyes_env.errors import UsageError
from deepeyes_env.trainers.sft.examples import Example


def encode_example(chat: Chat, example: Example, factor: int) -> TokenSequence:
    """Write an example as a policy sees it when it plays: the same tokens, from prompt to last message.

    In the mask are the messages that are to be imitated, each with the token that ends it; never a token of a prompt,
    of an observation, or of what a message was begun with.

    Args:
        chat: The model's.
        example: What is to be imitated.
        factor: Side of the square of pixels that becomes one image token.

    Raises:
        UsageError: An image was shown in a size that the model does not take.
    """
    for image in example.images:
        width, height = image.size
        if width % factor or height % factor:
            raise UsageError(
                f"example {example.id!r} shows an image of {width} x {height} pixels, and the model takes multiples of "
                f"{factor}; boxes were written on it as it is, so play the run again for this model's family"
            )
    parts = [chat.opening(example.system_prompt, example.prompt)]
    for number, reply in enumerate(example.replies):
        ids = chat.message(reply.text)
        parts.append(TokenSequence(ids, np.full(len(ids), reply.trainable), np.zeros(len(ids), np.float32)))
        if reply.observation is not None and number + 1 < len(example.replies):
            parts.append(chat.observation(reply.observation, chat.end_of_turn))
    return TokenSequence.concatenated(parts)


def marked(chat: Chat, tokens: TokenSequence) -> str:
    """Return tokens as text for people, what is trained on between ``[[`` and ``]]``, images as ``<image>``."""
    edges = np.flatnonzero(np.diff(tokens.mask.astype(np.int8))) + 1
    written = ""
    for ids, mask in zip(np.split(tokens.ids, edges), np.split(tokens.mask, edges), strict=True):
        first = np.r_[True, (ids[1:] != chat.image_token) | (ids[:-1] != chat.image_token)]
        text = chat.tokenizer.decode(ids[first].tolist(), clean_up_tokenization_spaces=False)
        text = text.replace(chat.tokenizer.convert_ids_to_tokens(chat.image_token), IMAGE_PLACEHOLDER)
        written += f"[[{text}]]" if mask[0] else text
    return written
