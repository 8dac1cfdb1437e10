"""One clause of an answer: which options it claims, how plainly, and which it denies, doubts or only mentions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from deepeyes_env.judges import phrases
from deepeyes_env.judges.clauses import Clause, any_of, is_sign
from deepeyes_env.judges.mentions import Mention

_MARKS = frozenset(":=>-")
_SKIPPED = phrases.FILL | phrases.CHOOSE | phrases.POINTING | _MARKS
COMMON = _SKIPPED | phrases.OFTEN_SAID
"""Words that say nothing of their own where a question is answered in a sentence."""
_AUXILIARY = phrases.vocabulary("is are was does do did could might would can")
_PLACES = phrases.vocabulary("in on at near with by beside behind under next")
_TELLING = 10  # characters of an option's text that no sentence holds by chance
_SHORT = 5  # letters; "red" and "king" describe nothing by their endings
_OPENING = phrases.BUT | phrases.SO | phrases.CORRECTION | {"and"}
NOTHING: frozenset[int] = frozenset()
"""No options."""


class Strength(IntEnum):
    """How plainly something is claimed."""

    NONE = 0
    ECHO = 1
    BARE = 2
    ANNOUNCED = 3


@dataclass(frozen=True, slots=True)
class Said:
    """What one clause says of options.

    Attributes:
        options: Those that it claims, or would if it did not leave it open.
        strength: How plainly.
        left_open: Whether it leaves it open.
        denied: Those that it denies.
        aside: Those that its words name in passing.
        in_words: Whether the claimed option is named by its text.
    """

    options: frozenset[int] = NOTHING
    strength: Strength = Strength.NONE
    left_open: bool = False
    denied: frozenset[int] = NOTHING
    aside: frozenset[int] = NOTHING
    in_words: bool = False


def read_clause(clause: Clause, named: Mapping[str, Mention], subject: set[str]) -> Said:
    """Return what a clause says of options.

    Args:
        clause: The clause.
        named: The mentions for which the signs among its words stand.
        subject: Stems of the words of the question.
    """
    signs = [word for word in clause.words if is_sign(word)]
    if not signs:
        return Said()
    if clause.asks or clause.words[0] in phrases.BECAUSE | phrases.CONDITION:
        return Said(aside=_in_words(signs, named) if not clause.asks else NOTHING)
    kept, denied_signs = _without_denied(clause.words)
    denied = _options(denied_signs, named)
    signs = [word for word in kept if is_sign(word)]
    if any(denies(word) for word in kept) or not signs:
        return Said(denied=denied | _options(signs, named))
    if any_of(kept, phrases.RETRACTED):
        return Said()
    relates = kept[0] in phrases.RELATIVE
    while kept[0] in _OPENING or kept[0] in phrases.RELATIVE:
        kept = kept[1:]
    strengths = {i: strength_of(kept, i, named, subject) for i, word in enumerate(kept) if is_sign(word)}
    strongest = max(strengths.values())
    claimed = [kept[i] for i, strength in strengths.items() if strength is strongest]
    options = _options(claimed, named)
    left_open = (
        any_of(kept, phrases.MAYBE)
        or likewise(clause.words)
        or kept[0] in ("or", "oder", "ou", "或", "或者")
        or doubts(clause)
    )
    if left_open:
        return Said(options, max(strongest, Strength.ECHO), True, denied)
    if (
        strongest is Strength.NONE
        or clause.words[0] in phrases.CONCEDING
        or (relates and strongest is not Strength.ANNOUNCED)
    ):
        return Said(denied=denied, aside=_in_words(signs, named))
    return Said(options, strongest, False, denied, in_words=any(named[sign].by_text for sign in claimed))


def likewise(listed: Sequence[str]) -> bool:
    """Whether a clause says the same of another thing, as in "but so is B"."""
    place = 1 if listed[0] in phrases.BUT else 0
    return listed[place : place + 1] in (["so"], ["neither"]) and any_of(listed[place + 1 : place + 2], _AUXILIARY)


def doubts(clause: Clause) -> bool:
    """Whether a clause says that the answer is not known, or not seen."""
    text = clause.text
    return phrases.DOUBT.search(text) is not None or phrases.UNSEEN.search(text) is not None


def _options(signs: Sequence[str], named: Mapping[str, Mention]) -> frozenset[int]:
    return NOTHING.union(*(named[sign].options for sign in signs))


def _in_words(signs: Sequence[str], named: Mapping[str, Mention]) -> frozenset[int]:
    return _options([sign for sign in signs if named[sign].by_text and not named[sign].by_letter], named)


def denies(word: str) -> bool:
    """Whether a word denies."""
    return word in phrases.NOT or word.endswith("n't")


def _without_denied(listed: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take "not B", "rather than B", "instead of B" out of a clause; return the rest and the signs that are denied."""
    kept: list[str] = []
    denied: list[str] = []
    for word in listed:
        if is_sign(word):
            place = len(kept)
            while place and kept[place - 1] in ("the", "a", "an", "option", "be"):
                place -= 1
            before = kept[max(0, place - 2) : place]
            compared = before in (["rather", "than"], ["instead", "of"], ["opposed", "to"], ["other", "than"])
            compared = compared or (before[-1:] in (["over"], ["than"]) and any(map(is_sign, kept)))
            moved = before[-1:] == ["from"] and "to" in listed
            if compared or moved or (before and denies(before[-1])):
                denied.append(word)
                del kept[place - (2 if compared and len(before) == 2 and before[-1] != "over" else 1) :]
                continue
        kept.append(word)
    return kept, denied


def strength_of(listed: Sequence[str], place: int, named: Mapping[str, Mention], subject: set[str]) -> Strength:
    """Return how plainly a clause claims the mention at a place."""
    mention = named[listed[place]]
    start, end = place, place + 1
    while start and listed[start - 1] in _SKIPPED:
        start -= 1
    while end < len(listed) and listed[end] in _SKIPPED:
        end += 1
    lead, tail = listed[start:place], listed[place + 1 : end]
    alone, closed = start == 0, end == len(listed)
    lead_in = [*listed[max(0, start - 1) : start], *lead]
    if len(mention.options) > 1 and any_of(lead_in, frozenset(("options", "choices"))):
        return Strength.NONE  # a list of what there is to choose from
    rest = [word for word in listed if not is_sign(word) or named[word].options != mention.options]
    echoes = all(_says_nothing(word, subject) for word in rest)
    ends_well = closed or echoes or mention.by_letter
    if any_of(lead_in, phrases.ANSWER | phrases.CHOOSE) and ends_well:
        return Strength.ANNOUNCED
    if any_of(tail, phrases.RIGHT) and (alone or echoes):
        return Strength.ANNOUNCED
    if closed and (alone or not _MARKS.isdisjoint(lead)):
        return Strength.BARE
    detailed = alone and any_of(tail[:1], _PLACES) and mention.end - mention.start >= _TELLING
    if not echoes and not (detailed and lead):
        return Strength.NONE
    if mention.by_letter and alone and COMMON.issuperset(rest):
        return Strength.BARE
    return Strength.ECHO if mention.by_text else Strength.NONE


def _says_nothing(word: str, subject: set[str]) -> bool:
    """Whether a word repeats the question or only describes how something is."""
    if "-" in word:
        return all(_says_nothing(part, subject) for part in word.split("-"))
    describes = len(word) > _SHORT and word.endswith(("ing", "ed", "ly"))
    return word in COMMON or describes or stem(word) in subject


def stem(word: str) -> str:
    """Return a word without the ending of a plural or a possessive; the same for both, if not a word."""
    word = word.removesuffix("'s")
    if word.endswith("es"):
        return word[:-2]
    return (word if word.endswith(("ss", "us", "is")) else word.removesuffix("s")).removesuffix("e")
