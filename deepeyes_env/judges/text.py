"""When two answers are the same text: spelling, spacing, articles and wrappers that carry no meaning."""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPTS = {ord(char): f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_FRACTIONS = {ord(char): f" {unicodedata.normalize('NFKC', char)}" for char in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
# NFKC alone would read 10² as 102 and 1½ as 11/2.
_BEFORE_NFKC = _SUPERSCRIPTS | _FRACTIONS
_AFTER_NFKC = str.maketrans({"⁄": "/", "−": "-", "–": "-", "—": "-", "’": "'", "‘": "'", "“": '"', "”": '"'})

_TRAILING = ".,;:?! "
_WRAPPERS = "*_`\"' "
_LATEX_WRAPPER = re.compile(r"\\(?:boxed|text|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")
# In "A B" the A is no article, and neither in "A is right" or "A would be best".
_ARTICLE = re.compile(r"\b(?:(?:the|an) (?=\w)|a (?!(?:is|would be)\b)(?=\w\w))")
_WORD_HYPHEN = re.compile(r"(?<=[^\W\d]{2})-(?=[^\W\d])|(?<=[^\W\d])-(?=[^\W\d]{2})")  # not that of "2x-y"
_COUNTED = re.compile(r"\d[^\W\d_]?$")
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore)\b,? ?)?"
    r"(?:(?:my |the )?(?:(?:final|correct|right|best) )?(?:answer|option|choice|letter)\b(?: is\b| ?[:=])?[: ]*"
    r"|(?:it|this|that|there|they|these) (?:is|are)\b[: ]*|it's )"
)
_TAIL = re.compile(r" (?:is|would be) (?:the )?(?:correct|right|best|answer)(?: answer| option| choice)?$")


def tidy(text: str) -> str:
    r"""Return ``text`` with Unicode forms (NFKC) and spaces unified, wrappers and trailing punctuation removed.

    Wrappers are quotes, Markdown emphasis, ``$...$`` and LaTeX's ``\boxed{}`` and ``\text{}``. Case is kept. A text
    that is all punctuation comes back as it was, without the spaces around it.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_BEFORE_NFKC)).translate(_AFTER_NFKC)
    spaced = text = " ".join(text.split())
    for _ in range(3):
        before = text
        text = _strip_trailing(text.strip(_WRAPPERS)).strip(_WRAPPERS).lstrip(":;,")
        if len(text) > 2 and text[0] == text[-1] == "$":
            text = text[1:-1]
        if text.startswith("\\") and (wrapped := _LATEX_WRAPPER.fullmatch(text)):
            text = wrapped[1]
        if text == before:
            break
    return text.strip() or spaced


def _strip_trailing(text: str) -> str:
    stripped = text.rstrip(_TRAILING)
    is_factorial = _COUNTED.search(stripped) and text[len(stripped) :].startswith("!")
    return f"{stripped}!" if is_factorial else stripped


def key(text: str) -> str:
    """Return the form in which two texts that say the same are equal: ``tidy``, lower case, without articles."""
    folded = tidy(text).casefold()
    if "-" in folded:
        folded = _WORD_HYPHEN.sub(" ", folded)
    return _ARTICLE.sub("", folded)


def without_lead(text: str) -> str:
    """Return a ``key`` without words around the answer that say nothing, as in "answer is ..." or "it is ..."."""
    for _ in range(3):
        lead = _LEAD.match(text)
        if lead is None or lead.end() == len(text):
            break
        text = text[lead.end() :]
    return _TAIL.sub("", text)


def polarity(text: str) -> str:
    """Return ``"yes"`` or ``"no"`` if a ``key`` says just that, alone or before a comma or stop; else ``""``."""
    for word, opposite in (("yes", "no"), ("no", "yes")):
        if text == word:
            return word
        if text.startswith(word) and text[len(word)] in ",.;:!":
            return "" if re.search(rf"\b{opposite}\b", text) else word
    return ""
