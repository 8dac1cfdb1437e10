"""Multiple choice: which options an answer names, by letter or by text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deepeyes_env.core import Sample
from deepeyes_env.equal_options import right_options
from deepeyes_env.judges.assertions import last_claim
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH
from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.mentions import listed_words, mentions
from deepeyes_env.judges.quantities import read_quantity
from deepeyes_env.judges.text import folded, key, polarity, tidy, without_lead
from deepeyes_env.judges.yes_no import content_words, says
from deepeyes_env.option_letters import LETTERS, option_index

_LONE_LETTER = re.compile(r"[(\[{]?([a-z]{1,2})[)\]}.:]{0,2}")
_LETTER_AND_TEXT = re.compile(r"(?:[(\[{]([a-z]{1,2})[)\]}][.:]?|([a-z]{1,2})[)\].:]{1,2}) ?(?=\S)|([a-z])(?: -)? ")
_TEXT_AND_LETTER = re.compile(r"(.+) [(\[]([a-z]{1,2})[)\]]")
_ANSWER_LETTER = re.compile(r"(?:\(([A-Z])\)|([A-Z])(?=[).:]|$))[).:]?(?: .*)?", re.DOTALL)
_MARKER = re.compile(r"(?:(?<=\s)|^)(?:\(([A-Z])\)|([A-Z])[).:](?=\s))[.:]?\s*")
_LONGEST = 5000  # characters of a question that are looked at for what it is about


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of a question, and which of them are right.

    Attributes:
        texts: Texts of the options, A first; empty strings where only letters are known.
        right: Indices of the right options: several when the right text appears twice and no letter is known.
    """

    texts: tuple[str, ...]
    right: frozenset[int]


@dataclass(frozen=True, slots=True)
class Pick:
    """The options that an answer names.

    Attributes:
        indices: Their indices; empty if the answer names an option that does not exist.
        certain: Whether the answer is nothing but a choice, rather than a choice with an explanation.
    """

    indices: frozenset[int]
    certain: bool = True


def choices_of(sample: Sample) -> Choices | None:
    """Return the options of a sample, from ``options`` or from its question; ``None`` if it is not multiple choice.

    A sample whose answer is a lone capital letter, and whose question lists no options, has 26 without texts.
    """
    if sample.options:
        return Choices(sample.options, frozenset(right_options(sample.options, sample.answer, sample.metadata)))
    texts = options_in(sample.question)
    match = _ANSWER_LETTER.fullmatch(sample.answer.strip())
    if match is not None:
        index = LETTERS.index(match[1] or match[2])
        if index < len(texts):
            return Choices(texts, frozenset(i for i, text in enumerate(texts) if text == texts[index]))
        if not texts and len(sample.answer.strip()) <= 3:
            return Choices(("",) * len(LETTERS), frozenset([index]))
    matching = _by_text(key(sample.answer), tidy(sample.answer), texts, sample.question)
    return Choices(texts, matching) if matching else None


def options_in(question: str) -> tuple[str, ...]:
    """Return the options that a question lists as ``A. red``, ``(A) red`` or ``A) red``, in lines or in a row.

    The last list counts; a list starts at A, goes on in order, and has at least two options.
    """
    best: list[re.Match[str]] = []
    run: list[re.Match[str]] = []
    for match in _MARKER.finditer(question):
        letter = match[1] or match[2]
        if letter == "A":
            run = [match]
        elif run and LETTERS.index(letter) == len(run):
            run.append(match)
        if len(run) >= 2:
            best = run
    ends = [match.start() for match in best[1:]]
    texts = [question[match.end() : end] for match, end in zip(best, ends, strict=False)]
    if best:
        texts.append(question[best[-1].end() :].lstrip().partition("\n")[0])
    return tuple(text.strip().rstrip(",;").rstrip() for text in texts)


def pick(prediction: str, choices: Choices, question: str) -> Pick | None:
    """Return which options an answer names; ``None`` if it cannot be read as a choice, or is too long to be one.

    A lone letter is read as a letter even where it is the text of an option as well.
    """
    if len(prediction) >= MAX_ANSWER_LENGTH:
        return None
    raw = tidy(prediction)
    text = folded(raw)
    for form in dict.fromkeys((text, without_lead(text))):
        found = _read(form, raw, choices.texts, question)
        if found is not None:
            return found
    said = plain(prediction)
    claim = last_claim(said, mentions(said, choices.texts), question)
    if claim is not None:
        return Pick(claim.options, claim.plain)
    return _by_statement(prediction, choices.texts, question)


def _by_statement(prediction: str, texts: Sequence[str], question: str) -> Pick | None:
    """Return the option yes or no, where there are such options, that a statement stands for."""
    if not any(polarity(key(text)) for text in texts):
        return None
    asked, spoken_of = (content_words(listed_words(text[:_LONGEST])) for text in (question, prediction))
    said = says(prediction, question) if asked & spoken_of else None
    named = _by_text(said, said, texts, question) if said else None
    return Pick(named, certain=False) if named else None


def _read(text: str, raw: str, texts: Sequence[str], question: str) -> Pick | None:
    letter = _LONE_LETTER.fullmatch(text)
    index = _index(letter[1], texts) if letter is not None else None
    if index is not None:
        return Pick(frozenset([index]))
    by_text = _by_text(text, raw, texts, question)
    if by_text:
        return Pick(by_text)
    if letter is not None and len(letter[1]) == 1:  # two letters without such an option are a word
        return Pick(frozenset())
    return _read_letter_and_text(text, texts, question)


def _index(letter: str, texts: Sequence[str]) -> int | None:
    """Return the index of the option with a letter; ``None`` if there is no such option."""
    index = option_index(letter)
    return index if index is not None and index < len(texts) else None


def _agreeing(index: int, named: frozenset[int]) -> Pick:
    """Return the option of a letter if the text beside it is that option's; else all that are named."""
    return Pick(frozenset([index]) if index in named else named | {index})


def _read_letter_and_text(text: str, texts: Sequence[str], question: str) -> Pick | None:
    after = _TEXT_AND_LETTER.fullmatch(text)
    index = _index(after[2], texts) if after is not None else None
    if after is not None and index is not None:
        named = _by_text(without_lead(after[1]), after[1], texts, question)
        if named:
            return _agreeing(index, named)
    match = _LETTER_AND_TEXT.match(text)
    index = _index(match[1] or match[2] or match[3], texts) if match is not None else None
    if match is None or index is None:
        return None
    tail = text[match.end() :]
    named = _by_text(without_lead(key(tail)), tail, texts, question)
    return _agreeing(index, named) if named else None


def _by_text(text: str, raw: str, texts: Sequence[str], question: str) -> frozenset[int]:
    """Return the options whose text is the answer, by the strictest reading under which there are any."""
    options = [(i, tidy(option)) for i, option in enumerate(texts) if option]
    exact = frozenset(i for i, option in options if option == raw)
    if exact or not options:
        return exact
    equal = frozenset(i for i, option in options if key(option) == text)
    if equal:
        return equal
    quantity = read_quantity(text)
    if quantity is not None:
        read = [(i, read_quantity(key(option))) for i, option in options]
        return frozenset(i for i, other in read if other is not None and quantity.equals(other, question.casefold()))
    said = text if text in ("yes", "no") else ""
    return frozenset(i for i, option in options if said and polarity(key(option)) == said)
