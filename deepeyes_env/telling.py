"""What may be told: texts of strangers (servers, data, arguments) on their way to a terminal, a report or a log.

A secret is taken out where it would enter a message (``Secrets``); a text is made harmless where it is shown:
``printable`` for a terminal, ``markdown_text`` for Markdown. HTML is escaped by ``deepeyes_env.trajectories.markup``.
"""

from __future__ import annotations

import base64
import re
import reprlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

HIDDEN = "***"

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tabs and line feeds, what turns the direction of writing, and lone surrogates."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s@'\"]*@")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{6,}")
_API_KEY = re.compile(r"\bsk-[\w*.-]{8,}")
_MIN_SECRET = 4
"""Shorter ones (a placeholder, a letter) would blot out ordinary words."""

_MARKDOWN = re.compile(r"[\\|\[\]`*]|:(?=//)|(?<=\bwww)\.", re.IGNORECASE)


MOST_QUOTED = 100
"""Characters of a value that an error message quotes at most."""


def quoted(value: Any, most: int = MOST_QUOTED) -> str:
    """Return a value as an error message quotes it: its ``repr`` in one line, cut after ``most`` characters.

    Large values cost no more than small ones.
    """
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = most // 4
    if isinstance(value, str | bytes):
        cut, text = len(value) > most, repr(value[:most])
    else:
        cut, text = False, " ".join(short.repr(value).split())
    cut = cut or len(text) > most + 3
    return f"{text[:most]}..." if cut else text


def printable(text: str) -> str:
    r"""Return a text without terminal escape sequences: what is not printable is written as ``\x1b`` is."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def markdown_text(text: str) -> str:
    """Return a text, in one line, that Markdown shows as it is: no image, link, HTML or cell of its own."""
    flat = " ".join(printable(text).split())
    return _MARKDOWN.sub(r"\\\g<0>", flat).replace("<", "&lt;")


def split_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """Take user name and password out of a URL, so that it may be told; returns both."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    credentials, _, host = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    return urlunsplit(parts._replace(netloc=host)), (unquote(user), unquote(password))


class Secrets:
    """Takes keys and passwords out of texts: those of this connection, and whatever looks like one.

    Args:
        known: Keys and passwords in use; a server may echo them.
        logins: User names with their passwords, which are also sent together in base64.
    """

    def __init__(self, known: Iterable[str] = (), logins: Iterable[tuple[str, str]] = ()) -> None:
        pairs = list(logins)
        sent = [base64.b64encode(f"{user}:{password}".encode()).decode() for user, password in pairs]
        secrets = {*known, *sent, *(password for _, password in pairs)}
        self._known = sorted((each for each in secrets if len(each) > _MIN_SECRET), key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return a text with ``***`` in place of every secret."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
        return _API_KEY.sub(HIDDEN, _BEARER.sub(rf"\1 {HIDDEN}", text))
