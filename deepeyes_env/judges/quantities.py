"""Numbers as people write them: ``12``, ``12.0``, ``1,200``, ``-1 1/2``, ``50%``, ``$5``, ``twelve``, ``12 dogs``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from deepeyes_env.judges.units import CURRENCIES, asked_unit, ratio, size_of

_LONGEST = 80  # characters; a longer text is not a number, and its value could be expensive to compute

_NUMBER = re.compile(
    r"(?P<sign>[-+]?) ?(?P<currency>[$€£¥]?) ?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?P<decimals>\.\d+|\.(?!\d))?(?P<exponent>e[-+]?\d{1,3})?"
    r"(?: ?/ ?(?P<divisor>\d+)| (?P<top>\d+)/(?P<bottom>\d+))?"
    r"(?: ?(?P<percent>%|percent\b))?",
    re.ASCII,
)
_LONG_WORD = re.compile(r"[^\W\d_]{2,}")
_UNIT = re.compile(r"[^\W\d_]+(?: [^\W\d_]+){0,2}(?:\^?[23])?")
_TEENS = ("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SMALL = {word: value for value, word in enumerate((*_ONES, *_TEENS))}
_TENS = {
    word: 10 * value
    for value, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_MULTIPLES = {"hundred": 100, "dozen": 12}
NUMBER_WORDS = {*_SMALL, *_TENS, *_SCALES, *_MULTIPLES}
_NOT_UNITS = {*NUMBER_WORDS, "or", "and", "not", "to", "st", "nd", "rd", "th", "π", "pi", "e", "i"}


def number_word(word: str) -> str:
    """Return the figure of a number below a hundred that is one word, as ``7`` for ``seven``; ``""`` for others."""
    value = _SMALL.get(word, _TENS.get(word))
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its unit.

    Attributes:
        value: The number as written: 50 for ``50%``.
        unit: ``""``, ``"%"``, a currency sign, or up to three words.
    """

    value: Fraction
    unit: str = ""

    def equals(self, other: Quantity, question: str) -> bool:
        """Whether both say the same, as answers to ``question`` (lower case).

        A unit of two letters or more may be left out where the question names it ("How many dogs ...": ``12 dogs`` is
        ``12``), and the unit that the question asks for in any case; one that measures the same is converted. A
        percentage equals its value (``50%`` is ``0.5``) and, where the question asks for a percentage, its figure. A
        currency sign may be left out.
        """
        if self.unit == other.unit:
            return self.value == other.value
        if self.unit and other.unit:
            factor = ratio(self.unit, other.unit)
            return factor is not None and factor > 0 and self.value * factor == other.value
        full, bare = (self, other) if self.unit else (other, self)
        if full.unit == "%":
            return full.value / 100 == bare.value or (asks_percentage(question) and full.value == bare.value)
        asked = asked_unit(question)
        if asked and (factor := ratio(full.unit, asked)) is not None:
            return full.value * factor == bare.value
        if full.value != bare.value:
            return False
        named = set(_LONG_WORD.findall(question.replace("°", " degrees ")))
        return full.unit in CURRENCIES or set(full.unit.split()) <= named

    def contradicts(self, other: Quantity, question: str) -> bool:
        """Whether the two are certainly not the same, as answers to ``question`` (lower case)."""
        if self.equals(other, question):
            return False
        asked = asked_unit(question)
        known = [unit for unit in (self.unit, other.unit) if unit]
        measured = asked or len(known) > 1
        return self.value != other.value or "%" in known or bool(measured and all(map(size_of, known)))


def asks_percentage(question: str) -> bool:
    """Whether a question (lower case) asks for a percentage."""
    return "%" in question or "percent" in question


def read_quantity(text: str) -> Quantity | None:
    """Read a whole text (lower case, spaces unified) as one quantity; ``None`` if it is anything else."""
    if len(text) > _LONGEST or not text:
        return None
    text = " ".join(text.replace("°", " degrees ").split())
    return _read_figures(text) or _read_words(text)


def _read_figures(text: str) -> Quantity | None:
    match = _NUMBER.match(text)
    if match is None or not (match["whole"] or (match["decimals"] or ".") != "."):
        return None
    value = Fraction(f"{(match['whole'] or '0').replace(',', '')}{match['decimals'] or ''}{match['exponent'] or ''}")
    for divisor in (match["divisor"], match["bottom"]):
        if divisor is not None and int(divisor) == 0:
            return None
    if match["divisor"]:
        value /= int(match["divisor"])
    elif match["top"]:
        value += Fraction(int(match["top"]), int(match["bottom"]))
    if match["sign"] == "-":
        value = -value
    rest = text[match.end() :].strip()
    if match["percent"] or match["currency"]:
        return None if rest else Quantity(value, "%" if match["percent"] else match["currency"])
    return _with_unit(value, rest)


def _with_unit(value: Fraction, rest: str) -> Quantity | None:
    scale, _, after = rest.partition(" ")
    if scale in _SCALES:
        value, rest = value * _SCALES[scale], after
    if not rest:
        return Quantity(value)
    if rest == "percent":
        return Quantity(value, "%")
    if _UNIT.fullmatch(rest) and _NOT_UNITS.isdisjoint(rest.split()):
        return Quantity(value, rest)
    return None


def _may_follow(small: int, current: int) -> bool:
    """Whether a word below twenty can go on from ``current``: "twenty one", "hundred twelve", never "one two"."""
    return current % 100 == 0 or (0 < small < 10 and current % 100 >= 20 and current % 10 == 0)


def _read_words(text: str) -> Quantity | None:
    negative = text.startswith(("minus ", "negative "))
    words = re.split(r"[ -]", text)[int(negative) :]
    total = current = used = 0
    ceiling = 10**12
    while used < len(words):
        word = words[used]
        joined = word == "and" and used > 0 and current % 100 == 0
        if joined and used + 1 < len(words) and words[used + 1] in {*_SMALL, *_TENS}:
            used += 1
            continue
        small = _SMALL.get(word)
        if small is not None and _may_follow(small, current) and (used == 0 or words[used - 1] != "zero"):
            current += small
        elif word in _TENS and current % 100 == 0:
            current += _TENS[word]
        elif word in _MULTIPLES and (0 < current < 10 or used == 0):
            current = max(1, current) * _MULTIPLES[word]
        elif word in _SCALES and current > 0 and _SCALES[word] < ceiling:
            ceiling = _SCALES[word]
            total, current = total + current * ceiling, 0
        else:
            break
        used += 1
    if used == 0:
        return None
    value = Fraction(total + current)
    return _with_unit(-value if negative else value, " ".join(words[used:]))
