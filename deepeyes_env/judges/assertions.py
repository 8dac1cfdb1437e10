"""What a text asserts in the end: denials, doubts, corrections and explanations read for what they are.

A text is read clause by clause. A clause *claims* an option if it announces an answer ("the answer is B", "I choose B",
"B is correct"), if it is nothing but the option ("B", "Sure, B"), or, weaker, if it says of the subject of the question
nothing but the option's text ("The umbrella is red"). The last claim stands if the ones before agree with it or are
taken back, and if nothing behind it leaves it open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from deepeyes_env.judges import phrases
from deepeyes_env.judges.clauses import Clause, any_of, is_sign, outline
from deepeyes_env.judges.mentions import Mention, listed_words

_LONGEST_QUESTION = 5000  # characters of it that are looked at
_MARKS = frozenset(":=>-")
_SKIPPED = phrases.FILL | phrases.CHOOSE | phrases.POINTING | _MARKS
COMMON = _SKIPPED | phrases.OFTEN_SAID
"""Words that say nothing of their own where a question is answered in a sentence."""
_AUXILIARY = phrases.vocabulary("is are was does do did could might would can")
_PLACES = phrases.vocabulary("in on at near with by beside behind under next")
_TELLING = 10  # characters of an option's text that no sentence holds by chance
_SHORT = 5  # letters; "red" and "king" describe nothing by their endings
_OPENING = phrases.BUT | phrases.SO | phrases.CORRECTION | {"and"}
_NOTHING: frozenset[int] = frozenset()


class Strength(IntEnum):
    """How plainly something is claimed."""

    NONE = 0
    ECHO = 1
    BARE = 2
    ANNOUNCED = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text asserts.

    Attributes:
        options: Indices of the options; several if it does not settle on one.
        strength: How plainly.
        explained: Whether anything else is said, apart from a reason.
    """

    options: frozenset[int]
    strength: Strength
    explained: bool = False

    @property
    def plain(self) -> bool:
        """Whether there is no doubt that this is the answer that was meant."""
        return self.strength is Strength.ANNOUNCED or (self.strength is Strength.BARE and not self.explained)


@dataclass(frozen=True, slots=True)
class _Said:
    """What one clause says of options.

    Attributes:
        options: Those that it claims, or would if it did not leave it open.
        strength: How plainly.
        left_open: Whether it leaves it open.
        denied: Those that it denies.
        aside: Those that its words name in passing.
        in_words: Whether the claimed option is named by its text.
    """

    options: frozenset[int] = _NOTHING
    strength: Strength = Strength.NONE
    left_open: bool = False
    denied: frozenset[int] = _NOTHING
    aside: frozenset[int] = _NOTHING
    in_words: bool = False


def last_claim(text: str, found: Sequence[Mention], question: str) -> Claim | None:
    """Return which of the things that it mentions a text (``plain``) claims in the end; ``None`` if none."""
    if not found:
        return None
    drawn = outline(text, found)
    subject = set(map(stem, listed_words(question[:_LONGEST_QUESTION])))
    reader = _Reader()
    for clause in drawn.clauses:
        reader.take(clause, _said(clause, drawn.named, subject))
    return reader.claim()


class _Reader:
    """Takes the clauses of one text in order and keeps what stands so far."""

    def __init__(self) -> None:
        self._claims: list[_Said] = []  # none of them taken back
        self._aside = _NOTHING  # named in passing after the last claim
        self._doubted = self._correcting = self._explained = False
        self._supposed = -1  # the last sentence that supposes what is not the case

    def claim(self) -> Claim | None:
        """Return what stands."""
        if not self._claims:
            return None
        last, options = self._claims[-1], _NOTHING.union(*(claim.options for claim in self._claims))
        if len(options) > len(last.options):
            return Claim(options, last.strength, self._explained)
        # A letter beside another option's text, told in a sentence of its own.
        contradicted = self._aside and not last.in_words and not self._aside & options
        return None if self._doubted or contradicted else Claim(options, last.strength, self._explained)

    def take(self, clause: Clause, said: _Said) -> None:
        """Read the next clause."""
        if clause.words[0] == "if" and not phrases.FORCED.match(clause.text):
            self._supposed = clause.sentence
        if clause.sentence == self._supposed and "would" in clause.words:
            return
        corrects = self._correcting or any_of(clause.words[:2], phrases.BUT | phrases.CORRECTION)
        if said == _Said():
            self._take_words(clause)
            return
        self._correcting = False
        self._deny(said.denied)
        if said.strength is not Strength.NONE:
            self._weigh(said, corrects, any_of(clause.words, phrases.ALSO))
        elif said.aside:
            self._explained = True
            if clause.words[0] == "and" and self._claims and self._claims[-1].strength is Strength.ECHO:
                self._claims.append(_Said(said.aside, Strength.ECHO))
            self._aside |= said.aside if self._claims else _NOTHING

    def _take_words(self, clause: Clause) -> None:
        """Read a clause that names nothing."""
        words = clause.words
        if clause.explains and self._claims and len(words) < 4 and any(map(_denies, words)):
            self._deny(self._claims[-1].options)
        elif _doubts(clause) or (len(words) < 4 and any_of(words, phrases.MAYBE)):
            self._doubted = True
        elif phrases.TURNING.issuperset(words) and any_of(words, phrases.CORRECTION | {"but", "no", "not"}):
            self._correcting = True
        elif words[0] not in phrases.BECAUSE and not phrases.FILL.issuperset(words):
            self._explained = True

    def _deny(self, options: frozenset[int]) -> None:
        self._claims = [claim for claim in self._claims if not claim.options <= options]

    def _weigh(self, said: _Said, corrects: bool, joins: bool) -> None:
        standing = self._claims[-1] if self._claims else _Said()
        same = standing.options == said.options
        if said.left_open:
            self._doubted |= not self._claims
            self._claims += [said] if self._claims else []
        elif said.strength is Strength.ECHO and standing.strength > Strength.ECHO:
            self._aside |= said.options
            self._explained = True
        else:
            announced = said.strength is Strength.ANNOUNCED
            settled = not any(claim.left_open for claim in self._claims)
            repeated = announced and len(self._claims) > 1 and standing.strength < said.strength
            outweighed = repeated or (not same and standing.strength is Strength.ECHO)
            if not joins and ((corrects and not same) or (outweighed and settled)):
                self._claims, self._aside = [], _NOTHING
            if corrects or announced:
                self._doubted = False
            if not self._claims or not same:
                self._claims.append(said)
            elif said.strength >= standing.strength:
                self._claims[-1] = said


def _said(clause: Clause, named: dict[str, Mention], subject: set[str]) -> _Said:
    """Read one clause."""
    signs = [word for word in clause.words if is_sign(word)]
    if not signs:
        return _Said()
    if clause.asks or clause.words[0] in phrases.BECAUSE | phrases.CONDITION:
        return _Said(aside=_in_words(signs, named) if not clause.asks else _NOTHING)
    kept, denied_signs = _without_denied(clause.words)
    denied = _options(denied_signs, named)
    signs = [word for word in kept if is_sign(word)]
    if any(_denies(word) for word in kept) or not signs:
        return _Said(denied=denied | _options(signs, named))
    if any_of(kept, phrases.RETRACTED):
        return _Said()
    relates = kept[0] in phrases.RELATIVE
    while kept[0] in _OPENING or kept[0] in phrases.RELATIVE:
        kept = kept[1:]
    strengths = {i: strength_of(kept, i, named, subject) for i, word in enumerate(kept) if is_sign(word)}
    strongest = max(strengths.values())
    claimed = [kept[i] for i, strength in strengths.items() if strength is strongest]
    options = _options(claimed, named)
    left_open = (
        any_of(kept, phrases.MAYBE)
        or _likewise(clause.words)
        or kept[0] in ("or", "oder", "ou", "或", "或者")
        or _doubts(clause)
    )
    if left_open:
        return _Said(options, max(strongest, Strength.ECHO), True, denied)
    if (
        strongest is Strength.NONE
        or clause.words[0] in phrases.CONCEDING
        or (relates and strongest is not Strength.ANNOUNCED)
    ):
        return _Said(denied=denied, aside=_in_words(signs, named))
    return _Said(options, strongest, False, denied, in_words=any(named[sign].by_text for sign in claimed))


def _likewise(listed: Sequence[str]) -> bool:
    """Whether a clause says the same of another thing, as in "but so is B"."""
    place = 1 if listed[0] in phrases.BUT else 0
    return listed[place : place + 1] in (["so"], ["neither"]) and any_of(listed[place + 1 : place + 2], _AUXILIARY)


def _doubts(clause: Clause) -> bool:
    text = clause.text
    return phrases.DOUBT.search(text) is not None or phrases.UNSEEN.search(text) is not None


def _options(signs: Sequence[str], named: dict[str, Mention]) -> frozenset[int]:
    return _NOTHING.union(*(named[sign].options for sign in signs))


def _in_words(signs: Sequence[str], named: dict[str, Mention]) -> frozenset[int]:
    return _options([sign for sign in signs if named[sign].by_text and not named[sign].by_letter], named)


def _denies(word: str) -> bool:
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
            if compared or moved or (before and _denies(before[-1])):
                denied.append(word)
                del kept[place - (2 if compared and len(before) == 2 and before[-1] != "over" else 1) :]
                continue
        kept.append(word)
    return kept, denied


def strength_of(listed: Sequence[str], place: int, named: dict[str, Mention], subject: set[str]) -> Strength:
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
    rest = [word for i, word in enumerate(listed) if i != place]
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
