"""The words in which a user says which questions to keep: ``0 < difficulty < 1 and utility > 0``.

    condition   = both {"or" both}
    both        = one {"and" one}
    one         = "not" one | "(" condition ")" | value {comparison value}
    comparison  = "<" | "<=" | ">" | ">=" | "==" | "!="
    value       = name | ["-"] number

A name is a label's. Alone it is true where the label is not 0; a number alone is no condition. Nothing is evaluated as
Python. A question that lacks a label is neither kept nor dropped by a comparison that needs it (Kleene's third truth
value), so that ``not difficulty > 0.5`` does not keep what nobody has asked.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from deepeyes_env.errors import UnknownNameError, UsageError
from deepeyes_env.registry import did_you_mean
from deepeyes_env.telling import quoted

Labels: TypeAlias = Mapping[str, float]
"""The labels of a question by name."""

MAX_DEPTH = 50
"""How deep parentheses and ``not`` may be nested."""

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}

_WORDS = frozenset({"and", "or", "not"})
_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<name>[^\W\d]\w*)"
    rf"|(?P<comparison>{'|'.join(map(re.escape, COMPARISONS))})|(?P<mark>[()-])"
)
_BLANK = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Value:
    """A number, or the label of a name.

    Attributes:
        name: The label's name; empty for a number.
        number: The number.
    """

    name: str = ""
    number: float = 0.0

    def of(self, labels: Labels) -> float | None:
        """Return the value for a question; ``None`` if it lacks the label."""
        return labels.get(self.name) if self.name else self.number

    def __str__(self) -> str:
        return self.name or repr(self.number).removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value, or several that are compared in a row, as in ``0 < difficulty < 1``.

    Attributes:
        values: The values: one name, or two and more values.
        signs: The signs between them.
    """

    values: tuple[Value, ...]
    signs: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> bool | None:
        """Return whether it holds for a question; ``None`` where a label that decides it is missing."""
        found = [value.of(labels) for value in self.values]
        if not self.signs:
            return None if found[0] is None else found[0] != 0
        pairs = zip(self.signs, found, found[1:], strict=False)
        return _all(None if a is None or b is None else COMPARISONS[sign](a, b) for sign, a, b in pairs)

    def __str__(self) -> str:
        first, *rest = map(str, self.values)
        return " ".join([first, *(f"{sign} {value}" for sign, value in zip(self.signs, rest, strict=True))])


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    part: Condition

    def holds(self, labels: Labels) -> bool | None:
        """See ``Comparison.holds``."""
        held = self.part.holds(labels)
        return None if held is None else not held

    def __str__(self) -> str:
        return f"not {_grouped(self.part)}"


@dataclass(frozen=True, slots=True)
class Join:
    """Several conditions, joined by ``and`` or by ``or``."""

    word: str
    parts: tuple[Condition, ...]

    def holds(self, labels: Labels) -> bool | None:
        """See ``Comparison.holds``."""
        held = (part.holds(labels) for part in self.parts)
        return _all(held) if self.word == "and" else _any(held)

    def __str__(self) -> str:
        return f" {self.word} ".join(map(_grouped, self.parts))


Condition: TypeAlias = Comparison | Not | Join


@dataclass(frozen=True, slots=True)
class Keep:
    """Which questions to keep.

    Attributes:
        condition: What must hold for a question.
    """

    condition: Condition

    @classmethod
    def parse(cls, text: str, known: Collection[str]) -> Keep:
        """Read a condition.

        Args:
            text: The condition; see the module for its grammar.
            known: The names of the labels that there are.

        Raises:
            UnknownNameError: There is no such label; the message has the nearest name and all known ones.
            UsageError: It is no condition; the message says where and why.
        """
        return cls(_Parser(text, known).parse())

    def __call__(self, labels: Labels) -> bool:
        """Return whether a question with these labels is kept; one that lacks a label that decides it is not."""
        return self.condition.holds(labels) is True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the labels that it reads, in the order in which they are written."""
        return tuple(dict.fromkeys(_names(self.condition)))

    @property
    def filters(self) -> tuple[Condition, ...]:
        """The conditions that all must hold, one after another."""
        both = isinstance(self.condition, Join) and self.condition.word == "and"
        return self.condition.parts if isinstance(self.condition, Join) and both else (self.condition,)

    def __str__(self) -> str:
        return str(self.condition)


def _all(held: Iterator[bool | None]) -> bool | None:
    found = set(held)
    return False if False in found else None if None in found else True


def _any(held: Iterator[bool | None]) -> bool | None:
    found = set(held)
    return True if True in found else None if None in found else False


def _grouped(part: Condition) -> str:
    return f"({part})" if isinstance(part, Join) else str(part)


def _names(condition: Condition) -> Iterator[str]:
    if isinstance(condition, Comparison):
        yield from (value.name for value in condition.values if value.name)
        return
    for part in condition.parts if isinstance(condition, Join) else (condition.part,):
        yield from _names(part)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, word, comparison, mark; end
    text: str
    start: int


class _Parser:
    """Reads a condition from left to right; every error says at which character, counted from 1."""

    def __init__(self, text: str, known: Collection[str]) -> None:
        self._text = text
        self._known = known
        self._tokens = list(self._split())
        self._at = 0
        self._depth = 0

    def parse(self) -> Condition:
        """Return the condition that the text is."""
        if len(self._tokens) == 1:
            raise UsageError(f"the condition is empty; give one such as '0 < {min(self._known, default='label')} < 1'")
        condition = self._join("or")
        if self._next.kind != "end":
            raise self._error(f"expected and, or, a comparison or the end, not {quoted(self._next.text)}")
        return condition

    def _split(self) -> Iterator[_Token]:
        at = _BLANK.match(self._text, 0).end()  # type: ignore[union-attr]  # it matches anything
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                raise self._error(f"cannot read {quoted(self._text[at : at + 10])}{_hint(self._text[at:])}", at)
            word = found[0].lower() if found[0].lower() in _WORDS else ""
            yield _Token("word" if word else str(found.lastgroup), word or found[0], at)
            at = _BLANK.match(self._text, found.end()).end()  # type: ignore[union-attr]
        yield _Token("end", "", len(self._text))

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str, *texts: str) -> _Token | None:
        token = self._next
        if token.kind != kind or (texts and token.text not in texts):
            return None
        self._at += 1
        return token

    def _join(self, word: str) -> Condition:
        parts = [self._part(word)]
        while self._take("word", word):
            parts.append(self._part(word))
        return parts[0] if len(parts) == 1 else Join(word, tuple(parts))

    def _part(self, word: str) -> Condition:
        return self._join("and") if word == "or" else self._one()

    def _one(self) -> Condition:
        if self._depth >= MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep")
        self._depth += 1
        try:
            if self._take("word", "not"):
                return Not(self._one())
            if opened := self._take("mark", "("):
                inner = self._join("or")
                if not self._take("mark", ")"):
                    raise self._error(f"expected ) for the ( at character {opened.start + 1}{self._instead()}")
                if self._next.kind == "comparison":
                    raise self._error("a condition in parentheses cannot be compared; compare names and numbers")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Comparison:
        start = self._next.start
        values, signs = [self._value()], []
        while sign := self._take("comparison"):
            signs.append(sign.text)
            values.append(self._value())
        if not signs and not values[0].name:
            raise self._error("a number alone is no condition; compare it with a label", start)
        return Comparison(tuple(values), tuple(signs))

    def _value(self) -> Value:
        negative = self._take("mark", "-")
        if number := self._take("number"):
            return Value(number=float(number.text) * (-1 if negative else 1))
        name = None if negative else self._take("name")
        if name is None:
            raise self._error(f"expected {'a number' if negative else 'a label or a number'}{self._instead()}")
        if name.text not in self._known:
            why = f"unknown label {quoted(name.text)}; {did_you_mean(name.text, self._known)}"
            raise UnknownNameError(self._told(why, name.start))
        return Value(name.text)

    def _instead(self) -> str:
        return f", not {quoted(self._next.text)}" if self._next.text else ", and the condition ends"

    def _error(self, why: str, at: int | None = None) -> UsageError:
        return UsageError(self._told(why, self._next.start if at is None else at))

    def _told(self, why: str, at: int) -> str:
        return f"condition {quoted(self._text)}, character {at + 1}: {why}"


def _hint(text: str) -> str:
    """Return what to write instead of what other languages have."""
    for theirs, ours in (("&", "and"), ("|", "or"), ("!", "not or !="), ("=", "=="), ("~", "not"), ("≤", "<=")):
        if text.startswith(theirs):
            return f"; write {ours}"
    return "; a condition has names of labels, numbers, < <= > >= == !=, and, or, not and parentheses"
