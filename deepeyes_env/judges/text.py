"""When two answers are the same text: spelling, spacing, articles and wrappers that carry no meaning."""

from __future__ import annotations

import re

from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.phrases import CONDITION, MAYBE, NOT

_TRAILING = ".,;:?! "
_WRAPPERS = "*_`\"' "
# In "A B" the A is no article, and neither in "A is right" or "A would be best".
# In "Answer: A or B" neither.
_ARTICLE = re.compile(
    r"\b(?:(?:[Tt]he|[Aa]n) (?=\w)"
    r"|(?:a|A(?= [a-z])|(?<![\s\S])A) (?!(?:is|would be|answer|option|choice|or)\b)(?=\w\w))"
)
_WORD_HYPHEN = re.compile(r"(?<=[^\W\d]{2})-(?=[^\W\d])|(?<=[^\W\d])-(?=[^\W\d]{2})")  # not that of "2x-y"
_COUNTED = re.compile(r"\d[^\W\d_]?$")
_BE = r"(?:is|are|(?:should|would|must|has to|will) be|seems to be|appears to be)\b"
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore)\b,? ?)?"
    r"(?:i (?:think|believe|guess|would say|choose|pick|select)(?: that)? "
    rf"|(?:my |the )?(?:(?:final|correct|right|best) )?(?:answer|option|choice|letter)\b(?: {_BE}| ?[:=])?[: ]*"
    rf"|(?:it|this|that|there|they|these) {_BE}[: ]*|it's )"
)
_TAIL = re.compile(r" (?:is|would be) (?:the )?(?:correct|right|best|answer)(?: answer| option| choice)?$")

_ANNOUNCED = re.compile(rf"\banswer(?: to [\w ]{{1,60}}?)? ?(?:{_BE}|[:=])[: ]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[\w)\]\"'])[.!](?=\s|$)|[?;]|\n")
_REASON = re.compile(r",? (?:because|since|as|due to)\b", re.IGNORECASE)
_EXPLAINS = re.compile(r"\s*(?:$|because|since|explanation|reason|rationale)", re.IGNORECASE)


def tidy(text: str) -> str:
    """Return ``text`` without markup (``plain``), spaces unified, wrappers and trailing punctuation removed.

    Wrappers are quotes and what is left of Markdown. Case is kept. A text that is all punctuation comes back as it was,
    without the spaces around it.
    """
    spaced = text = " ".join(plain(text).split())
    for _ in range(3):
        before = text
        text = _strip_trailing(text.strip(_WRAPPERS)).strip(_WRAPPERS).lstrip(":;,")
        if text == before:
            break
    return text.strip() or spaced


def _strip_trailing(text: str) -> str:
    stripped = text.rstrip(_TRAILING)
    is_factorial = _COUNTED.search(stripped) and text[len(stripped) :].startswith("!")
    return f"{stripped}!" if is_factorial else stripped


def key(text: str) -> str:
    """Return the form in which two texts that say the same are equal: ``tidy``, lower case, without articles."""
    return folded(tidy(text))


def folded(tidied: str) -> str:
    """Return the ``key`` of a text that is tidy already."""
    tidied = tidied.casefold() if tidied.isupper() else tidied
    return _ARTICLE.sub("", _WORD_HYPHEN.sub(" ", tidied) if "-" in tidied else tidied).casefold()


def without_lead(text: str) -> str:
    """Return a ``key`` without words around the answer that say nothing, as in "answer is ..." or "it is ..."."""
    for _ in range(3):
        lead = _LEAD.match(text)
        if lead is None or lead.end() == len(text):
            break
        text = text[lead.end() :]
    return _TAIL.sub("", text)


def announced(text: str) -> str:
    """Return the ``key`` of what follows the last "the answer is", if nothing but reasons follow it; else ``""``.

    ``""`` too for what is denied or left open, as in "I don't think the answer is red".
    """
    said = plain(text)
    announcements = list(_ANNOUNCED.finditer(said))
    if not announcements:
        return ""
    found = announcements[-1]
    before = _SENTENCE_END.split(said[: found.start()])[-1].casefold().split()
    open_or_denied = any(word in NOT | MAYBE | CONDITION or word.endswith("n't") for word in before)
    sentence, *rest = _SENTENCE_END.split(said[found.end() :].lstrip(), maxsplit=1)
    if open_or_denied or not all(map(_EXPLAINS.match, rest)):
        return ""
    return key(_REASON.split(sentence, maxsplit=1)[0])


def polarity(text: str) -> str:
    """Return ``"yes"`` or ``"no"`` if a ``key`` says just that, alone or before a comma or stop; else ``""``."""
    for word, opposite in (("yes", "no"), ("no", "yes")):
        if text == word:
            return word
        if text.startswith(word) and text[len(word)] in ",.;:!":
            return "" if re.search(rf"\b{opposite}\b", text) else word
    return ""
