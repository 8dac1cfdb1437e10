"""From a completion of several turns back to the policy's messages: TRL keeps them as one row of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepeyes_env.errors import UsageError

_MARK = "MESSAGE-OF-THE-ASSISTANT"


class MessageSplitter:
    """Splits completions at the chat template's own marks, which a policy does not sample.

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
        said = tokenizer.apply_chat_template([*user, {"role": "assistant", "content": _MARK}], tokenize=False)
        after: list[int] = tokenizer(said.partition(_MARK)[2], add_special_tokens=False).input_ids
        self._end = after[0] if after else tokenizer.eos_token_id
        self._ends = {self._end, tokenizer.eos_token_id, tokenizer.pad_token_id}

    def split(self, ids: Sequence[int]) -> list[list[int]]:
        """Return the tokens of each message of the policy, with the one that ends it where it wrote it."""
        return [list(ids[start:stop]) for start, stop in self.spans(ids)]

    def spans(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return where each message of the policy begins and ends in a completion, which begins with one."""
        starts, width = [0], len(self._opening)
        for place in range(len(ids) - width + 1):
            if list(ids[place : place + width]) == self._opening:
                starts.append(place + width)
        spans = []
        for start in starts:
            stop = next((place + 1 for place in range(start, len(ids)) if ids[place] == self._end), len(ids))
            spans.append((start, stop))
        return spans

    def text(self, ids: Sequence[int]) -> str:
        """Return a message as text, without the token that ends it."""
        said = ids[:-1] if ids and ids[-1] in self._ends else ids
        return str(self._tokenizer.decode(said, clean_up_tokenization_spaces=False))
