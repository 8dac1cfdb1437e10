"""What a text asserts in the end: denials, doubts, corrections and explanations read for what they are.

A text is read clause by clause. A clause *claims* an option if it announces an answer ("the answer is B", "I choose B",
"B is correct"), if it is nothing but the option ("B", "Sure, B"), or, weaker, if it says of the subject of the question
nothing but the option's text ("The umbrella is red"). The last claim stands if the ones before agree with it or are
taken back, and if nothing behind it leaves it open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deepeyes_env.judges import phrases
from deepeyes_env.judges.clauses import Clause, any_of, outline
from deepeyes_env.judges.mentions import Mention, listed_words
from deepeyes_env.judges.statements import NOTHING, Said, Strength, denies, doubts, likewise, read_clause, stem

_LONGEST_QUESTION = 5000  # characters of it that are looked at


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


def last_claim(text: str, found: Sequence[Mention], question: str) -> Claim | None:
    """Return which of the things that it mentions a text (``plain``) claims in the end; ``None`` if none."""
    if not found:
        return None
    drawn = outline(text, found)
    subject = set(map(stem, listed_words(question[:_LONGEST_QUESTION])))
    reader = _Reader()
    for clause in drawn.clauses:
        reader.take(clause, read_clause(clause, drawn.named, subject))
    return reader.claim()


class _Reader:
    """Takes the clauses of one text in order and keeps what stands so far."""

    def __init__(self) -> None:
        self._claims: list[Said] = []  # none of them taken back
        self._aside = NOTHING  # named in passing after the last claim
        self._doubted = self._correcting = self._explained = False
        self._denied = False  # whether the last clause that names something only denies
        self._supposed = -1  # the last sentence that supposes what is not the case

    def claim(self) -> Claim | None:
        """Return what stands."""
        if not self._claims:
            return None
        last, options = self._claims[-1], NOTHING.union(*(claim.options for claim in self._claims))
        if len(options) > len(last.options):
            return Claim(options, last.strength, self._explained)
        # A letter beside another option's text, told in a sentence of its own.
        contradicted = self._aside and not last.in_words and not self._aside & options
        return None if self._doubted or contradicted else Claim(options, last.strength, self._explained)

    def take(self, clause: Clause, said: Said) -> None:
        """Read the next clause."""
        if clause.words[0] == "if" and not phrases.FORCED.match(clause.text):
            self._supposed = clause.sentence
        if clause.sentence == self._supposed and "would" in clause.words:
            return
        corrects = self._correcting or any_of(clause.words[:2], phrases.BUT | phrases.CORRECTION)
        if said == Said():
            self._take_words(clause)
            return
        self._correcting = False
        if self._denied and likewise(clause.words):
            self._deny(said.options)
            return
        self._deny(said.denied)
        self._denied = bool(said.denied) and said.strength is Strength.NONE
        corrects |= clause.words[0] in phrases.SO and self._narrows(said.options)
        if said.strength is not Strength.NONE:
            self._weigh(said, corrects, any_of(clause.words, phrases.ALSO))
        elif said.aside:
            self._explained = True
            if clause.words[0] == "and" and self._claims and self._claims[-1].strength is Strength.ECHO:
                self._claims.append(Said(said.aside, Strength.ECHO))
            self._aside |= said.aside if self._claims else NOTHING

    def _take_words(self, clause: Clause) -> None:
        """Read a clause that names nothing."""
        words = clause.words
        if clause.explains and self._claims and len(words) < 4 and any(map(denies, words)):
            self._deny(self._claims[-1].options)
        elif doubts(clause) or (len(words) < 4 and any_of(words, phrases.MAYBE)):
            self._doubted = True
        elif phrases.TURNING.issuperset(words) and any_of(words, phrases.CORRECTION | {"but", "no", "not"}):
            self._correcting = True
        elif words[0] not in phrases.BECAUSE and not phrases.FILL.issuperset(words):
            self._explained = True

    def _deny(self, options: frozenset[int]) -> None:
        self._claims = [claim for claim in self._claims if not claim.options <= options]

    def _narrows(self, options: frozenset[int]) -> bool:
        """Whether options are some of several that stand, as in "1, 2, 3, 4, so 4"."""
        return bool(self._claims) and options < self._claims[-1].options

    def _weigh(self, said: Said, corrects: bool, joins: bool) -> None:
        standing = self._claims[-1] if self._claims else Said()
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
                self._claims, self._aside = [], NOTHING
            if corrects or announced:
                self._doubted = False
            if not self._claims or not same:
                self._claims.append(said)
            elif said.strength >= standing.strength:
                self._claims[-1] = said
