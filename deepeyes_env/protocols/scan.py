"""Finding tagged spans in a model's text, in linear time.

Regular expressions such as ``<tool_call>(.*?)</tool_call>`` take quadratic time on a message that opens many tags and
closes none, and stop at a closing tag inside a JSON string.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# As much as can be JSON: strings whole, and between them neither a backslash nor the first character of a mark. The
# quantifiers are possessive: nothing is tried twice. Were a backslash let through, strings with escaped quotes could be
# read from many starts to the end of the text.
_JSON_LIKE = re.compile(r'(?:[^"<`\\]*+"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[^"<`\\]*+', re.DOTALL)


class Span(NamedTuple):
    """A tagged piece of text: ``text[start:end]`` with its tags, ``text[inner:outer]`` without."""

    start: int
    inner: int
    outer: int
    end: int


def find_json_spans(text: str, opening: str, closing: str) -> list[Span]:
    """Return all spans from an opening to the next closing mark, left to right, not overlapping.

    A closing mark inside a JSON string does not end a span, unless what stands between the marks cannot be JSON. An
    opening mark that is never closed starts no span. Marks begin with ``<`` or a backtick.
    """
    spans: list[Span] = []
    last_closing = text.rfind(closing)
    start = text.find(opening)
    while 0 <= start < last_closing:
        inner = start + len(opening)
        json_like = _JSON_LIKE.match(text, inner)
        outer = json_like.end() if json_like else inner
        if not text.startswith(closing, outer):
            outer = text.find(closing, inner)
        if outer < 0:
            break
        spans.append(Span(start, inner, outer, outer + len(closing)))
        start = text.find(opening, outer + len(closing))
    return spans


def last_between(text: str, opening: str, closing: str) -> str | None:
    """Return what stands in the last pair of tags, reading pairs from left to right; ``None`` if there is no pair."""
    found: tuple[int, int] | None = None
    end = 0
    while (start := text.find(opening, end)) >= 0:
        inner = start + len(opening)
        outer = text.find(closing, inner)
        if outer < 0:
            break
        found, end = (inner, outer), outer + len(closing)
    return None if found is None else text[found[0] : found[1]]


def cut_out(text: str, spans: list[Span]) -> str:
    """Return the text without the spans."""
    if not spans:
        return text
    pieces, end = [], 0
    for span in spans:
        pieces.append(text[end : span.start])
        end = span.end
    return "".join(pieces) + text[end:]
