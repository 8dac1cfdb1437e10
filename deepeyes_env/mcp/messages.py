"""The bound on what a server may send, and taking a stream of lines apart within it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_MESSAGE = 8 * 2**20
"""How many bytes one message of a server may have, images included as they are written in JSON."""

TOO_LARGE = f"the result is larger than {MAX_MESSAGE // 2**20} MB; ask for less"
"""What the policy is told about a message with more."""

_END = 512
_FIRST = re.compile(rb'\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d{1,15})\b')
_LAST = re.compile(rb'"id"\s*:\s*(\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Stands for a line that was too long to be kept.

    Attributes:
        request: Number of the request that it replies to; ``None`` where neither its beginning nor its end tells.
    """

    request: int | None


class Lines:
    """Takes a stream of bytes apart into lines; of one that is too long only the ends are kept.

    Args:
        most: How many bytes a line may have.
    """

    def __init__(self, most: int = MAX_MESSAGE) -> None:
        self._most = most
        self._kept = bytearray()
        self._first = b""

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLarge]:
        """Yield the lines that a chunk completes, without their ends."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._line()
        self._add(rest)

    def _add(self, part: bytes) -> None:
        self._kept += part
        if len(self._kept) > self._most:
            self._first = self._first or bytes(self._kept[:_END])
        if self._first:
            del self._kept[:-_END]

    def _line(self) -> bytes | TooLarge:
        kept, first = bytes(self._kept), self._first
        self._kept.clear()
        self._first = b""
        if not first:
            return kept
        found = _FIRST.match(first) or _LAST.search(kept)
        return TooLarge(int(found[1]) if found else None)
