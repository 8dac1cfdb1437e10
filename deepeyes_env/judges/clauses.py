"""A text in clauses: what stands between full stops, commas and conjunctions, with the options that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from deepeyes_env.judges import phrases
from deepeyes_env.judges.markup import WORD_SIGN
from deepeyes_env.judges.mentions import Mention

_FIRST = 0xE000  # private use: ``plain`` leaves none of these signs in a text
_SIGN = "[\ue000-\uf8ff]"

_VOCABULARY = (
    *(phrases.ANSWER, phrases.CHOOSE, phrases.RIGHT, phrases.FILL, phrases.POINTING, phrases.NOT, phrases.MAYBE),
    *(phrases.OR, phrases.BECAUSE, phrases.BUT, phrases.SO, phrases.CORRECTION, phrases.RETRACTED, phrases.ALSO),
    phrases.CONDITION,
)
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
_UNSPACED_WORDS = "|".join(
    sorted({w for words in _VOCABULARY for w in words if re.match(f"[{_UNSPACED}]", w)}, key=len, reverse=True)
)
_SEVERAL_WORDS = "|".join(sorted(w for words in _VOCABULARY for w in words if " " in w))
_TOKEN = re.compile(
    rf"{_SIGN}|\n|{_UNSPACED_WORDS}|[{_UNSPACED}]|(?:{_SEVERAL_WORDS})(?![^\W\d_])"
    rf"|\d+(?:[.,:]\d+)*|{WORD_SIGN}+(?:['-]{WORD_SIGN}+)*|[.!?;,:=>()-]"
)
_WRAPPED = re.compile(rf"[(\[{{<\"'*]+\s?({_SIGN})\s?[)\]}}>\"'*]+|({_SIGN})[)\]}}\"'*]+")
_JOINING_WORDS = "|".join(
    sorted((re.escape(w) for w in phrases.OR if re.match(r"[^\W\d_]", w) and w.isascii()), key=len)
)
_OTHER_JOINING = "|".join(sorted((re.escape(w) for w in phrases.OR if not w.isascii()), key=len, reverse=True))
_JOIN = (
    rf"(?:\s*[,/&+|]\s*(?:(?:{_JOINING_WORDS})\s+)?(?={_SIGN}(?!\s*(?:is|was|isn't|does|doesn't|has|shows|can|cannot|can't)\b)"
    rf"|[a-z])|\s*(?:[,(]\s*)?\b(?:{_JOINING_WORDS})\s+|\s*(?:{_OTHER_JOINING})\s*|[ \t]+"
    r"|\s*\(\s*|,? as well as |,? along with )"
    r"(?:(?:the|an?|option|maybe|perhaps|possibly|probably|even|also|answer:)\s+)*"
)
_LISTED = re.compile(rf"{_SIGN}(?:{_JOIN}{_SIGN})+")
_OPENING = phrases.BUT | phrases.SO | phrases.BECAUSE | phrases.CONDITION | phrases.RELATIVE | {"wait", "actually"}


@dataclass(slots=True)
class Clause:
    """A clause.

    Attributes:
        words: Its words, lower case; a mention of an option is a sign that ``Outline.named`` knows.
        sentence: Number of its sentence; a new line begins one.
        explains: Whether it follows an option and a colon or dash.
        asks: Whether its sentence ends with a question mark.
    """

    words: list[str] = field(default_factory=list)
    sentence: int = 0
    explains: bool = False
    asks: bool = False

    @property
    def text(self) -> str:
        """The words in a row."""
        return " ".join(self.words)


@dataclass(frozen=True, slots=True)
class Outline:
    """A text in clauses.

    Attributes:
        clauses: The clauses, in order.
        named: The mention for which a sign stands.
    """

    clauses: tuple[Clause, ...]
    named: dict[str, Mention]


def outline(text: str, mentions: Sequence[Mention] = ()) -> Outline:
    """Divide a text (``plain``) into clauses, with a sign for each mention, and one for several that are listed."""
    pieces: list[str] = []
    named: dict[str, Mention] = {}
    place = 0
    for mention in mentions:
        sign = chr(_FIRST + len(named))
        named[sign] = mention
        pieces += [text[place : mention.start].casefold(), sign]
        place = mention.end
    drawn = phrases.NO_DOUBT.sub("clearly", "".join([*pieces, text[place:].casefold()]))
    drawn = phrases.ALL_BUT.sub("not", drawn)
    drawn = _WRAPPED.sub(lambda match: match[1] or match[2], drawn)
    drawn = _LISTED.sub(lambda match: _list_sign(match[0], named), drawn)
    return Outline(tuple(clause for clause in _divided(_TOKEN.findall(drawn)) if clause.words), named)


def _list_sign(listed: str, named: dict[str, Mention]) -> str:
    members = [named[sign] for sign in listed if sign in named]
    sign = chr(_FIRST + len(named))
    named[sign] = Mention(
        members[0].start,
        members[-1].end,
        frozenset().union(*(member.options for member in members)),
        any(member.by_letter for member in members),
        any(member.by_text for member in members),
    )
    return sign


def _divided(tokens: Sequence[str]) -> Iterator[Clause]:
    sentence, clause, waiting = 0, Clause(), []
    for token, following in zip(tokens, [*tokens[1:], ""], strict=False):
        before = clause.words[-1] if clause.words else ""
        if token.isdecimal() and following in (".", ")"):
            continue  # the number of a step
        if token in "\n.!?;":
            waiting.append(clause)
            for done in waiting:
                done.asks = token == "?"
            yield from waiting
            sentence, waiting = sentence + 1, []
            clause = Clause(sentence=sentence)
        elif token in ",()" or (token in ":-=>" and (is_sign(before) or "not" in clause.words or before == "no")):
            waiting.append(clause)
            clause = Clause(sentence=sentence, explains=token in ":-=>" and is_sign(before))
        elif clause.words and _opens(token, before, following):
            waiting.append(clause)
            clause = Clause([token], sentence)
        elif token != "-" or before:
            clause.words.append(token)
    yield from (*waiting, clause)


def _opens(word: str, before: str, following: str) -> bool:
    """Whether a clause begins with a word that does not stand at its beginning yet."""
    if word == "as":
        return is_sign(before)
    if word in ("rather", "instead"):
        return following not in ("than", "of")
    if word in ("and", "y", "et", "und", "и"):
        return is_sign(following)
    return word in _OPENING and not (word == "so" and before in ("and", "is"))


def is_sign(word: str) -> bool:
    """Whether a word stands for a mention."""
    return len(word) == 1 and "\ue000" <= word <= "\uf8ff"


def any_of(words: Iterable[str], vocabulary: frozenset[str]) -> bool:
    """Whether one of the words belongs to a vocabulary."""
    return not vocabulary.isdisjoint(words)
