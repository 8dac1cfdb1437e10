"""Standard output and standard error of a session: files, which processes and libraries in C write to as well."""

from __future__ import annotations

import io
import os
import re
from typing import Any

_MOST = 8 << 20
"""Bytes of a stream that a cell may write from Python; what is more is dropped without an error."""
_READ = 4 << 20
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class OutputFile(io.RawIOBase):
    """A stream that ends in a file.

    Args:
        fd: The file, opened for reading too and for appending.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left = _MOST

    def begin(self) -> None:
        """Forget what was written."""
        os.ftruncate(self._fd, 0)
        self._left = _MOST

    def text(self) -> io.TextIOWrapper:
        """Return a new text stream that writes here at once."""
        stream: Any = self
        return io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", write_through=True)

    def text_so_far(self) -> str:
        """Return the text written so far, without terminal escape sequences."""
        text = os.pread(self._fd, _READ, 0).decode("utf-8", "replace")
        return _ANSI.sub("", text)

    def write(self, data: Any) -> int:
        """Append bytes, as long as there is room."""
        size = len(data)
        if self._left > 0:
            os.write(self._fd, bytes(data[: self._left]))
            self._left -= size
        return size

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """Return the file's descriptor, which programs hand to other programs."""
        return self._fd

    def close(self) -> None:
        """Stay open: the next cell writes here too."""


def cut(text: str, most: int, *, keep_end: bool = False) -> tuple[str, bool]:
    """Return a text of at most so many characters, which says how much was left out, and whether anything was.

    Args:
        text: The text.
        most: Characters that are kept.
        keep_end: Keep the end, where the error is, and not the beginning.
    """
    if len(text) <= most:
        return text, False
    told = f"[{len(text) - most:,} more characters were left out]"
    return (f"{told}\n{text[-most:]}" if keep_end else f"{text[:most]}\n{told}"), True
