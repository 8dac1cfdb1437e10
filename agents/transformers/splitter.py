"""From a response of several turns back to the policy's messages: TRL and verl keep them as one row of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepeyes_env.errors import UsageError

_MARK = "MESSAGE-OF-THE-ASSISTANT"


class MessageSplitter:
    """Splits responses at the chat template's own marks, which a policy does not sample.

    Args:
        tokenizer: A tokenizer with a chat template.

    Raises:
        UsageError: The chat template opens the assistant's messages by nothing.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        user = [{"role": "user", "content": "?"}]
        asked = tokenizer.apply_chat_template(user, tokenize=False)
        opened = tokenizer.apply_chat_template(user, tokenize=False, add_generation_prompt=True)
        self._opening: list[int] = tokenizer(opened.removeprefix(asked), add_special_tokens=False).input_ids
        if not self._opening or not opened.startswith(asked):
            raise UsageError("the chat template writes no generation prompt; episodes cannot be taken apart")
        talk = [*user, {"role": "assistant", "content": _MARK}, {"role": "user", "content": _MARK}]
        between = tokenizer.apply_chat_template(talk, tokenize=False).split(_MARK)[1]
        self._end, *self._heard = tokenizer(between, add_special_tokens=False).input_ids
        self._ends = {self._end, tokenizer.eos_token_id, tokenizer.pad_token_id}

    def split(self, ids: Sequence[int]) -> list[list[int]]:
        """Return the tokens of each message of the policy, with the one that ends it where it wrote it.

        A response begins with a message. One that was cut ends where the next user message opens: TRL does not end it.
        """
        whole = list(ids)
        starts = [0, *(place + len(self._opening) for place in _places(whole, self._opening))]
        ends = [place + 1 for place, token in enumerate(whole) if token == self._end]
        stops = sorted([*ends, *_places(whole, self._heard), len(whole)])
        return [whole[start : next(stop for stop in stops if stop >= start)] for start in starts]

    def is_ended(self, ids: Sequence[int]) -> bool:
        """Whether the policy ended a message, which was not cut then."""
        return bool(ids) and ids[-1] in self._ends

    def text(self, ids: Sequence[int]) -> str:
        """Return a message as text, without the token that ends it."""
        said = ids[:-1] if self.is_ended(ids) else ids
        return str(self._tokenizer.decode(said, clean_up_tokenization_spaces=False))


def _places(ids: list[int], part: list[int]) -> list[int]:
    """Return where a part occurs."""
    width = len(part)
    return [place for place in range(len(ids) - width + 1) if ids[place : place + width] == part]
