"""Which number an answer gives, among all the words it says: "So the total is 7 dogs." gives 7."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deepeyes_env.judges.assertions import last_claim
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH
from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.mentions import Mention
from deepeyes_env.judges.quantities import NUMBER_WORDS, Quantity, read_quantity
from deepeyes_env.judges.text import announced, key, without_lead
from deepeyes_env.judges.units import UNIT

_WORDS = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
_CURRENCY_BEFORE = re.compile(r"\b(?:usd|us\$|eur|gbp|jpy|cny|rmb) ?(?=\d)")
_SIGNS = {"usd": "$", "us$": "$", "eur": "€", "gbp": "£", "jpy": "¥", "cny": "¥", "rmb": "¥"}
_FIGURES = (
    r"(?:(?<![\w)\]])[-+] ?)?[$€£¥]? ?(?>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?+(?:\.\d+)?(?<=\d)(?:e[-+]?\d{1,3})?"
    r"(?: ?/ ?\d+(?![\d.])| \d+/\d+)?(?: ?%| percent\b)?"
)
_NUMBER = re.compile(
    rf"(?<![A-Za-zÀ-ɏ\d_.])(?:(?:minus |negative )?\b(?:{_WORDS})\b(?:[ -](?:and )?(?:{_WORDS})\b)*|{_FIGURES})"
    rf"(?: (?:thousand|million|billion)\b)?(?: percent\b)?"
    rf"(?: ?\(?(?:(?:square |cubic )?(?:{UNIT})(?:\^?[23])?|°)\)?(?![\w^]))?(?!\.\d|[A-Za-zÀ-ɏ])"
)
# "The correct one", "one of them".
_NO_NUMBER = re.compile(r"(?:the|this|that|which|correct|right|only|each|no|any|every) $")
_APPROXIMATE = re.compile(r"(?:about|approximately|around|roughly|nearly|almost|circa|[~≈]) ?$")
_EQUATED = re.compile(r"[^=\n,;]*=\s*")
_NOT_EQUAL = re.compile(r"[<>!≤≥≠]\s?=|[<>≤≥≠]|\\(?:[lg]eq?|neq?)\b")
_ALMOST_EQUAL = re.compile(r"≈|≅|\\approx(?![a-z])|\\simeq(?![a-z])")


@dataclass(frozen=True, slots=True)
class Claimed:
    """The number that an answer gives.

    Attributes:
        quantity: The number.
        plain: Whether there is no doubt that it is the one that was meant.
    """

    quantity: Quantity
    plain: bool


def claimed_quantity(text: str, question: str, *, approximate: bool = False) -> Claimed | None:
    """Return the one number that an answer gives; ``None`` if it gives none, or several.

    Args:
        text: The answer.
        question: The question; the answer may repeat its words.
        approximate: Whether "about 7" gives 7.
    """
    if len(text) >= MAX_ANSWER_LENGTH:
        return None
    whole = read_quantity(without_lead(key(text)))
    if whole is not None:
        return Claimed(whole, plain=True)
    announcement = announced(text)
    if announcement and not _NUMBER.search(announcement):
        return None  # "7 boats pass. The answer is red."
    said = _ALMOST_EQUAL.sub("=", plain(text).casefold())
    if "=" in said:
        said = "" if _NOT_EQUAL.search(said) else _EQUATED.sub("", said)
    said = _CURRENCY_BEFORE.sub(lambda match: _SIGNS[match[0].strip()], said)
    found: dict[Quantity, list[re.Match[str]]] = {}
    for quantity, match in _quantities(said):
        if not approximate and _APPROXIMATE.search(said[max(0, match.start() - 16) : match.start()]):
            return None
        found.setdefault(quantity, []).append(match)
    places = sorted(
        (match.start(), match.end(), number) for number, matches in enumerate(found.values()) for match in matches
    )
    named = [Mention(start, end, frozenset([number]), by_text=True) for start, end, number in places]
    claim = last_claim(said, named, question)
    if claim is None or len(claim.options) != 1:
        return None
    return Claimed(list(found)[min(claim.options)], claim.plain)


def _quantities(text: str) -> Iterator[tuple[Quantity, re.Match[str]]]:
    for match in _NUMBER.finditer(text):
        if match[0].strip() == "one" and _NO_NUMBER.search(text[max(0, match.start() - 10) : match.start()]):
            continue
        quantity = read_quantity(" ".join(match[0].replace("(", " ").replace(")", " ").split()))
        if quantity is not None:
            yield quantity, match
