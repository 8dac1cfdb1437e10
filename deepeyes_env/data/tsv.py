"""Tab-separated records with quoted fields, of any size, as byte ranges of a file.

The ``csv`` module bounds the size of a field by one setting for the whole process (131,072 characters by default) and
an 8K image in base64 is a hundred times that; so records are split here. The dialect is that of ``csv.excel_tab`` and
of pandas: a field that starts with a double quote ends at the next lone one, two mean one, and such a field may hold
tabs and newlines. A quote elsewhere in a field is an ordinary character.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

MAX_RECORD_BYTES = 1 << 30
"""A record longer than this has a quote that is never closed, for all we know; reading on could fill the memory."""


def records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the offset and the bytes of each record from the file's position on; blank lines are left out.

    Holds one record at a time. Takes linear time.

    Raises:
        ValueError: A record is longer than ``MAX_RECORD_BYTES``.
    """
    start, length, inside = file.tell(), 0, False
    lines: list[bytes] = []
    for line in file:
        lines.append(line)
        length += len(line)
        inside = _inside_quotes(line, inside)
        if length > MAX_RECORD_BYTES:
            raise ValueError(f"the record at byte {start} is longer than 1 GiB; is a quote never closed?")
        if not inside:
            if record := b"".join(lines).removesuffix(b"\n").removesuffix(b"\r"):
                yield start, record
            start, length, lines = start + length, 0, []
    if lines:
        yield start, b"".join(lines)


def _inside_quotes(line: bytes, inside: bool) -> bool:
    """Whether a quoted field is open after ``line``, given whether one was open before it."""
    at = 0
    if not inside and line.startswith(b'"'):
        inside, at = True, 1
    while True:
        if inside:
            at = _closing_quote(line, at)
            if at < 0:
                return True
            inside = False
        at = line.find(b'\t"', at)
        if at < 0:
            return False
        inside, at = True, at + 2


def _closing_quote(data: bytes, at: int) -> int:
    """Return the position of the first lone quote from ``at`` on; -1 if there is none."""
    at = data.find(b'"', at)
    while at >= 0 and data[at + 1 : at + 2] == b'"':
        at = data.find(b'"', at + 2)
    return at


def split_record(record: bytes) -> list[bytes]:
    """Split a record into its fields, unquoted.

    Raises:
        ValueError: A quoted field is never closed.
    """
    if b'"' not in record:
        return record.split(b"\t")
    fields, at = [], 0
    while True:
        quoted = record.startswith(b'"', at)
        close = _closing_quote(record, at + 1) if quoted else at
        if close < 0:
            raise ValueError("a quoted field is never closed")
        tab = record.find(b"\t", close)
        stop = len(record) if tab < 0 else tab
        if quoted:
            fields.append(record[at + 1 : close].replace(b'""', b'"') + record[close + 1 : stop])
        else:
            fields.append(record[at:stop])
        if tab < 0:
            return fields
        at = tab + 1


def join_record(fields: Iterable[str]) -> bytes:
    """Return the line for a record, quoted where it must be, with its newline."""
    return ("\t".join(map(_quoted, fields)) + "\n").encode()


def _quoted(field: str) -> str:
    if any(character in field for character in '"\t\r\n'):
        return '"' + field.replace('"', '""') + '"'
    return field
