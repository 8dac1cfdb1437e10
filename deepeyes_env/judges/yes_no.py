"""YesNoJudge: yes-or-no questions, as in POPE (arXiv 2305.10355)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from deepeyes_env.core import Sample
from deepeyes_env.judges import phrases
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.clauses import Clause, any_of, is_sign, outline
from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.mentions import Mention, listed_words
from deepeyes_env.judges.statements import COMMON, Strength, stem, strength_of

_LONGEST_QUESTION = 5000  # characters of it that are looked at
_YES = (
    r"yes|yeah|yep|yup|aye|affirmative|s[ií]|oui|ja|jawohl|да|так|sim|tak|evet|ya|có|हाँ|हां|ใช่|نعم|כן|بله|ναι|igen|"
    r"ano|kyllä|是的|是|有的|有|对的|对|對|はい|ある|あります|네|예|있습니다"
)
_NO = (
    r"nope|nah|no way|negative|no|non|nein|нет|ні|não|nao|nie|hayır|tidak|không|नहीं|ไม่|لا|לא|خیر|όχι|nem|ei|nej|nee|ne|"
    r"否|没有|沒有|不是|不对|不|いいえ|ない|ありません|아니요|아니오|없습니다"
)
# "No dog" is a statement.
_ENDS = r"(?=\s*(?:[.,;:!?)\]\"'/|-]|$)|\s+(?:and|or|und|et|ou|oder|o|y|e)\s+(?:yes|ja|s[ií]|oui)\b)"
_ANSWERS = re.compile(
    rf"(?<![^\W\d_])(?:(?P<yes>{_YES})(?![^\W_])|(?P<no>{_NO})(?![^\W_]){_ENDS})", re.IGNORECASE | re.MULTILINE
)
# These answer only where nothing else is said with them.
_AGREEING = phrases.vocabulary("true correct right sure certainly absolutely definitely indeed")
_DISAGREEING = phrases.vocabulary("false incorrect wrong none")

_SAID_WITH = phrases.FILL | phrases.POINTING | {"statement", "claim"}

_DENYING = phrases.vocabulary("no not none never neither nor cannot absent missing lack lacks lacking devoid nowhere")
_COMPARING = phrases.vocabulary("rather instead unlike than except without hardly")
_NOBODY = phrases.vocabulary("nothing nobody")
_ASKS_WHETHER = re.compile(
    r"(?:^|[.,:?!\n] ?)(?:is|are|was|were|do|does|did|can|could|has|have|had|will|would|should|isn't|aren't)\b[^?\n]*"
)
_NOT_SO = re.compile(
    r"(?:\bnot|n't) (?:think|believe)$"
    r"|\b(?:think|believe|guess|suppose|say|afraid|hope|probably|certainly|absolutely|definitely) not$"
    r"|\bnot (?:really|at all)$"
)
_EXISTS = re.compile(
    r"\bthere(?: is|'s| are|'re)\b|\b(?:i|we|you|one) (?:can |could |do |clearly )*(?:see|spot|find|notice|observe)\b"
    r"|\b(?:image|picture|photo|photograph|crop|scene|it)\b[\w ]*? "
    r"(?:shows?|contains?|features?|depicts?|includes?|has)\b"
    r"|\b(?:is|are|can be) (?:clearly |also )*(?:visible|present|shown|seen|there|depicted"
    r"|in the (?:image|picture|photo))\b"
)
_INSTEAD_OF_IT = phrases.vocabulary("it there one any some they them such")
_VERBS = phrases.vocabulary(
    "do does did find spot notice observe contain contains feature features depict depicts include",
    "includes present any some you clearly image's actually",
)
_EMPTY = COMMON | _NOBODY | phrases.BECAUSE | phrases.BUT | phrases.SO | _DENYING | _INSTEAD_OF_IT | _VERBS


def says(prediction: str, question: str = "") -> Literal["yes", "no"] | None:
    """Return whether an answer says yes or no; ``None`` if it says neither, or both.

    The word yes or no counts where an answer is announced ("so the answer is no") and where it begins or ends a
    sentence; if such words disagree and the last corrects none, the answer says neither. Without one, the first
    statement counts ("There is no dog", "I can see a dog"), which has to be about what ``question`` asks, where that is
    given. What is doubted ("cannot be determined", "maybe") says neither, and so does an answer of
    ``MAX_ANSWER_LENGTH`` characters or more.
    """
    if len(prediction) >= MAX_ANSWER_LENGTH:
        return None
    text = plain(prediction)
    found = [
        Mention(m.start(), m.end(), frozenset([m["yes"] is None]), by_letter=True) for m in _ANSWERS.finditer(text)
    ]
    drawn = outline(text, found)
    whether = _ASKS_WHETHER.search(question[:_LONGEST_QUESTION].casefold())
    asked = content_words(listed_words(whether[0])) if whether else set()
    answers: list[frozenset[int]] = []
    stated: bool | None = None
    doubted = False
    for _, group in groupby(drawn.clauses, key=lambda clause: clause.sentence):
        sentence = list(group)
        answer = _answer(sentence, drawn.named)
        if answer:
            answers = [answer] if _corrects(sentence) else [*answers, answer]
        elif any(map(_is_doubt, sentence)):
            doubted = True
        elif stated is None:
            stated = _stated(sentence, asked)
    if answers:
        said = frozenset().union(*answers)
        return None if len(said) > 1 else ("yes", "no")[min(said)]
    return None if doubted or stated is None else ("no", "yes")[stated]


def _answer(sentence: Sequence[Clause], named: dict[str, Mention]) -> frozenset[int]:
    """Return what the words yes and no say in a sentence: 0 for yes, 1 for no, both, or nothing."""
    first = next((i for i, clause in enumerate(sentence) if not phrases.TURNING.issuperset(clause.words)), 0)
    begins: frozenset[int] = frozenset()
    ends: frozenset[int] = frozenset()
    for i, clause in enumerate(sentence):
        signs = [place for place, word in enumerate(clause.words) if is_sign(word)]
        if not signs:
            said = _said_alone(clause) if i == 0 else None
            begins = begins or (frozenset([said]) if said is not None else begins)
        for place in signs:
            options = named[clause.words[place]].options
            if (clause.asks and len(sentence) > 1) or any_of(clause.words, _DENYING | phrases.MAYBE):
                continue
            strength = strength_of(clause.words, place, named, set())
            if strength is Strength.ANNOUNCED:
                return options
            if i == first and phrases.TURNING.issuperset(clause.words[:place]):
                begins = begins or options
            elif strength is Strength.BARE and i == len(sentence) - 1:
                ends = options
    return begins or ends


def _said_alone(clause: Clause) -> int | None:
    telling = [word for word in clause.words if word in _AGREEING | _DISAGREEING or word not in _SAID_WITH]
    if len(telling) != 1 or telling[0] not in _AGREEING | _DISAGREEING:
        return None
    return int(telling[0] in _DISAGREEING)


def _corrects(sentence: Sequence[Clause]) -> bool:
    return any_of(sentence[0].words[:2], phrases.CORRECTION | phrases.BUT)


def _is_doubt(clause: Clause) -> bool:
    return phrases.DOUBT.search(clause.text) is not None or any_of(clause.words, phrases.MAYBE)


def content_words(listed: Iterable[str]) -> set[str]:
    """Return those of some words that say what is spoken of, by their stems."""
    return {stem(word) for word in listed if word not in _EMPTY and not is_sign(word)}


def _stated(sentence: Sequence[Clause], asked: set[str]) -> bool | None:
    """Return whether the first clause that is about what is asked says that it is so; ``None`` if there is none."""
    for clause in sentence:
        if clause.asks or clause.words[0] in phrases.BECAUSE | phrases.CONDITION:
            continue
        text, content = clause.text, content_words(word for word in clause.words if not word.endswith("n't"))
        stands_for_it = any_of(clause.words, _INSTEAD_OF_IT)
        if _NOT_SO.search(text):
            return False
        if any(word in _DENYING or word.endswith("n't") for word in clause.words):
            if content & asked if asked and content else content or stands_for_it:
                return False
        elif _EXISTS.search(text) if not asked else any_of(clause.words, phrases.BE) or _EXISTS.search(text):
            if any_of(clause.words, _NOBODY) and content & asked:
                return False
            if any_of(clause.words, _COMPARING | _NOBODY):
                continue
            missing = asked - content
            if not missing or (stands_for_it and not content - asked and len(missing) == 1 and len(asked) > 1):
                return True
    return None


@dataclass(frozen=True, slots=True)
class YesNoJudge:
    """Compares what an answer says, yes or no, with what the right answer says."""

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer; abstains if the right answer is neither yes nor no."""
        truth = says(sample.answer)
        if truth is None:
            return None
        said = says(prediction, sample.question)
        return Verdict(float(said == truth), "yes_no", f"says {said}" if said else "says neither yes nor no")
