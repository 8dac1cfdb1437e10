"""Chat: conversations as token ids, through the chat template of the model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.agents.families import read_model_file
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, PolicyTokens, Trajectory
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.protocols import without_marks

_ASSISTANT_MESSAGE = "MESSAGE-OF-THE-ASSISTANT"
_CACHED = 4096


class Chat:
    """Writes prompts and observations as token ids; what the policy wrote is taken as it was sampled, never re-encoded.

    Attributes:
        tokenizer: A transformers tokenizer with a chat template.
        image_token: Id of the token that stands for (a part of) an image.
        end_of_turn: Id of the token that ends a message.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        image_token: Id of the token that stands for (a part of) an image.
        factor: Side of the square of pixels that becomes one image token.

    Raises:
        UsageError: The tokenizer has no chat template, or its template does not keep the assistant's messages.
    """

    def __init__(self, tokenizer: Any, image_token: int, factor: int) -> None:
        self.tokenizer = tokenizer
        self.image_token = image_token
        self._factor = factor
        if not tokenizer.chat_template:
            raise UsageError(
                f"the tokenizer in {tokenizer.name_or_path!r} has no chat template; add chat_template.jinja or "
                "chat_template.json"
            )
        self._specials = special_texts(tokenizer)
        self.end_of_turn: int = self._ids(self._after_assistant([{"role": "user", "content": "?"}]))[0]
        self._ends = frozenset({self.end_of_turn, *tokenizer.all_special_ids})
        self._encoded = lru_cache(_CACHED)(self._encode)
        self._rendered = lru_cache(_CACHED)(self._render)

    def prompt(self, trajectory: Trajectory) -> TokenSequence:
        """Return the system prompt and the first user message, with the generation prompt at the end."""
        return self.opening(trajectory.system_prompt, trajectory.prompt)

    def opening(self, system_prompt: str, message: Message) -> TokenSequence:
        """Return a system prompt, if there is one, and a user message, with the generation prompt at the end."""
        return self._context(self._rendered(message.text, system_prompt), message)

    def message(self, text: str) -> NDArray[np.int64]:
        """Return a message of the assistant's that was not sampled here: its ids, and the one that ends it.

        What looks like a special token in it is text: a policy cannot write special tokens.
        """
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return np.array([*ids, self.end_of_turn], np.int64)

    def observation(self, message: Message, last_token: int) -> TokenSequence:
        """Return what stands between two messages of the assistant.

        Args:
            message: What the environment answered.
            last_token: Last token that the policy wrote before; its message is ended here if it did not end it.

        What the next message is begun with comes last.
        """
        context = self._context(self._rendered(message.text) + self.plain(message.prefill), message)
        if last_token != self.end_of_turn:
            return context
        return TokenSequence.context(context.ids[1:], context.images)

    def sequence(self, trajectory: Trajectory) -> TokenSequence:
        """Return a whole episode.

        An observation that no message of the policy follows is left out.

        Raises:
            UsageError: A turn has no tokens: the agent that played it does not report them.
        """
        parts = [self.prompt(trajectory)]
        for number, turn in enumerate(trajectory.turns):
            if turn.tokens is None:
                raise UsageError(f"turn {number} of sample {trajectory.sample.id!r} has no tokens to train on")
            parts.append(written(turn.tokens))
            if turn.observation is not None and number + 1 < len(trajectory.turns):
                parts.append(self.observation(turn.observation, turn.tokens.ids[-1]))
        return TokenSequence.concatenated(parts)

    def text(self, ids: Sequence[int]) -> str:
        """Return the message that the policy wrote, without the token that ends it."""
        ended = bool(ids) and ids[-1] in self._ends
        return str(self.tokenizer.decode(ids[:-1] if ended else ids, clean_up_tokenization_spaces=False))

    def plain(self, text: str) -> str:
        """Break up what would be read as a special token: texts come from data, tools, and the policy itself.

        ``<|`` is broken up wherever it stands, as in what our OpenAI agent sends: it cannot know a server's tokens.
        """
        return broken_up(text, self._specials)

    def _render(self, text: str, system_prompt: str | None = None) -> str:
        """Return a user message as the template writes it: the first one, or without a system prompt a later one."""
        messages: list[dict[str, Any]] = [_user(self.plain(text))]
        if system_prompt is None:
            return self._after_assistant(messages)
        if system_prompt:
            messages.insert(0, {"role": "system", "content": self.plain(system_prompt)})
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _context(self, text: str, message: Message) -> TokenSequence:
        sizes = tuple(image.size for image in message.images)
        return TokenSequence.context(self._encoded(text, sizes), message.images)

    def _encode(self, text: str, sizes: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
        """Encode a text, and give each of its image tokens as many copies as the image takes."""
        ids = np.array(self._ids(text), np.int64)
        times = np.ones(len(ids), np.int64)
        positions = np.flatnonzero(ids == self.image_token)
        if len(positions) != len(sizes):
            raise UsageError(
                f"the chat template wrote {len(positions)} image tokens for {len(sizes)} images: {text[:200]!r}"
            )
        times[positions] = [(width // self._factor) * (height // self._factor) for width, height in sizes]
        repeated = np.repeat(ids, times)
        repeated.flags.writeable = False
        return repeated

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _after_assistant(self, messages: Sequence[dict[str, Any]]) -> str:
        """Render messages that follow one of the assistant; return what comes after it."""
        conversation = [_user("?"), {"role": "assistant", "content": _ASSISTANT_MESSAGE}, *messages]
        text = self.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        _, mark, after = text.partition(_ASSISTANT_MESSAGE)
        if not mark or not after:
            raise UsageError(f"the chat template of {self.tokenizer.name_or_path!r} does not keep assistant messages")
        return str(after)


def special_texts(tokenizer: Any) -> list[str]:
    """Return what a tokenizer reads as special tokens, the longest first."""
    specials = tokenizer.added_tokens_decoder.values()
    return sorted({token.content for token in specials if token.special}, key=len, reverse=True)


def broken_up(text: str, specials: Sequence[str]) -> str:
    """Break up what would be read as a special token, and ``<|`` wherever it stands."""
    for special in specials:
        if special in text:
            text = text.replace(special, f"{special[0]} {special[1:]}")
    return without_marks(text)


def processor_template(folder: Path) -> str | None:
    """Return the chat template of a model directory whose tokenizer has none; ``None`` if there is none at all.

    ``AutoProcessor`` keeps it in ``chat_template.json``, which tokenizers do not read; before that it stood in
    ``processor_config.json``.
    """
    for name in ("chat_template.json", "processor_config.json"):
        settings = read_model_file(folder / name) if (folder / name).is_file() else {}
        template = settings.get("chat_template")
        if isinstance(template, str) and template:
            return template
    return None


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model directory, with its chat template, from its files alone."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    tokenizer.chat_template = tokenizer.chat_template or processor_template(folder)
    return tokenizer


def load_chat(folder: Path, factor: int) -> Chat:
    """Make the chat encoding of a model directory without its weights.

    Args:
        folder: The model directory.
        factor: Side of the square of pixels that becomes one image token.

    Raises:
        UsageError: The tokenizer has no chat template, or its template does not keep the assistant's messages.
        DataError: A file of it is damaged.
    """
    token = read_model_file(folder / "config.json").get("image_token_id")
    if not isinstance(token, int):
        raise DataError(f"{folder / 'config.json'}: has no image_token_id; download the model again")
    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # whatever transformers and tokenizers raise for a damaged file
        raise DataError(
            f"the tokenizer in {str(folder)!r} cannot be loaded ({type(error).__name__}: {error}); download it again"
        ) from error
    return Chat(tokenizer, token, factor)


def written(tokens: PolicyTokens) -> TokenSequence:
    """Return the tokens of one action."""
    ids = np.array(tokens.ids, np.int64)
    mask = np.array(tokens.mask, np.bool_) if tokens.mask else np.ones(len(ids), np.bool_)
    logprobs = np.array(tokens.logprobs, np.float32) if tokens.logprobs else np.zeros(len(ids), np.float32)
    return TokenSequence(ids, mask, logprobs)


def _user(text: str) -> dict[str, Any]:
    """Return a user message, its placeholders as images."""
    content: list[dict[str, str]] = []
    for number, part in enumerate(text.split(IMAGE_PLACEHOLDER)):
        content += [{"type": "image"}] * (number > 0)
        content += [{"type": "text", "text": part}] * bool(part)
    return {"role": "user", "content": content}
