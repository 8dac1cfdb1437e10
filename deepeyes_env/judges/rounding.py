"""RoundingJudge: numbers that are right at the precision asked for, as in MathVista (arXiv 2310.02255)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from deepeyes_env.core import Sample
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.maths import unboxed
from deepeyes_env.judges.mentions import listed_words
from deepeyes_env.judges.quantities import Quantity, asks_percentage, read_quantity
from deepeyes_env.judges.statements import COMMON
from deepeyes_env.judges.text import key, without_lead
from deepeyes_env.judges.units import asked_unit, ratio
from deepeyes_env.judges.values import claimed_quantity

_MAX_DIGITS = 12
_LARGEST = 10 ** (2 * _MAX_DIGITS)
# Given for a number whose unit measures something else: decided, and equal to none.
_NO_ANSWER = Fraction(_LARGEST - 1)
_PI = re.compile(r"(\d+(?:\.\d+)?)? ?\*? ?(?:π|\\?pi)(?: ?/ ?([1-9]\d{0,3}))?")
_ITEM_ENDS = re.compile(r"[,;]|(?<=\d)\s*-\s*(?=\d)|\b(?:and|to|und|et|y|e)\b|[到和至与]")
_LIST_WORDS = COMMON | {"between", "list", "years"}
_BRACKETS = re.compile(r"[\[\](){}'\"]")
_WORD = re.compile(r"[^\W\d_]+")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class RoundingJudge:
    """Compares numbers, or lists of numbers, after rounding them to the precision of the sample.

    Looks at samples whose ``metadata["answer_type"]`` is ``integer``, ``float`` or ``list``, as the MathVista loader
    makes them, and whose answer is such a number or list; abstains on all others, and on answers that are neither.
    ``metadata["precision"]`` is how many decimal places count (``float``; a missing one counts as many as the right
    answer has). An answer to an ``integer`` question must be a whole number; ``12.0`` is. Lists are equal if they have
    the same numbers in the same order.

    A number may stand in a sentence ("So the total is 7."), and "about 7" is 7. Its unit is converted to the one that
    the question asks for; a unit that measures something else is wrong, and so is a percentage that is neither asked
    for nor the value (``21%`` is 0.21).

    Rounded is as MathVista's own script and lmms-eval do it, which is Python's ``round`` of a binary number: 2.675 is
    2.67. That script cuts 3.7 down to 3 where a whole number is asked for; here 3.7 is not 3.
    """

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer."""
        kind = sample.metadata.get("answer_type")
        if sample.options or kind not in ("integer", "float", "list") or len(prediction) >= MAX_ANSWER_LENGTH:
            return None
        if kind == "list":
            given, expected, plainly = [_list_of(prediction, sample.question)], _list_of(sample.answer, ""), True
        else:
            numbers, plainly = _numbers(prediction, sample)
            given = [_bounded(number) for number in numbers]
            expected = _bounded(_value(read_quantity(key(unboxed(sample.answer)))))
        read = [one for one in given if one is not None]
        if not read or expected is None:
            return None
        places = _places(sample, kind)
        if any(_equal(one, expected, places) for one in read):
            return Verdict(1.0, "rounding", "equal")
        return Verdict(0.0, "rounding", "another number") if plainly else None


def _places(sample: Sample, kind: str) -> int | None:
    precision = sample.metadata.get("precision")
    if kind != "float" or not isinstance(precision, int | float) or math.isnan(precision):
        return None
    return int(precision) if 0 <= precision <= _MAX_DIGITS else None


def _equal(given: Sequence[Fraction], expected: Sequence[Fraction], places: int | None) -> bool:
    """Whether numbers equal the right ones; ``places`` are the right ones' own digits if not known."""
    if len(given) != len(expected):
        return False
    if places is None:
        return all(one == other for one, other in zip(given, expected, strict=True))
    return all(
        round(float(one), places) == round(float(other), places) for one, other in zip(given, expected, strict=True)
    )


def _numbers(prediction: str, sample: Sample) -> tuple[list[Fraction], bool]:
    """Return the number that an answer gives, in the unit that is asked for, and whether it is plainly meant.

    Two for a percentage where one is asked for, none for none.
    """
    question = sample.question.casefold()
    claimed = claimed_quantity(prediction, sample.question, approximate=True)
    if claimed is None:
        constant = _PI.fullmatch(key(plain(prediction)))
        return ([Fraction(math.pi) * Fraction(constant[1] or 1) / int(constant[2] or 1)] if constant else []), True
    number, unit = claimed.quantity.value, claimed.quantity.unit
    if unit == "%":
        return ([number / 100, number] if asks_percentage(question) else [number / 100]), claimed.plain
    factor = ratio(unit, str(sample.metadata.get("unit") or asked_unit(question)).casefold()) if unit else None
    if factor == 0:
        return [_NO_ANSWER], claimed.plain
    return [number if factor is None else number * factor], claimed.plain


def _list_of(text: str, question: str) -> tuple[Fraction, ...] | None:
    """Read a list: ``[1, 2]``, ``1; 2``, ``1-2`` or "between 1 and 2"; ``None`` if there is none, or more is said."""
    said = _BRACKETS.sub(" ", without_lead(key(text)))
    subject = set(listed_words(question))
    items = [item for item in (_item(part, subject) for part in _ITEM_ENDS.split(said)) if item]
    values = [_value(read_quantity(item)) for item in items]
    found = tuple(value for value in values if value is not None and abs(value) < _LARGEST)
    return found if found and len(found) == len(values) else None


def _item(text: str, subject: set[str]) -> str:
    """Return one item of a list without the words around it that say nothing."""
    if not _DIGIT.search(text):
        return "" if all(word in _LIST_WORDS or word in subject for word in _WORD.findall(text)) else text
    kept = [word for word in text.split() if _DIGIT.search(word) or not (word in _LIST_WORDS or word in subject)]
    return " ".join(kept).strip(": =.")


def _value(quantity: Quantity | None) -> Fraction | None:
    return None if quantity is None else quantity.value


def _bounded(value: Fraction | None) -> tuple[Fraction] | None:
    """Return a number as a list of one; ``None`` for one that is too large to be rounded."""
    return (value,) if value is not None and abs(value) < _LARGEST else None
