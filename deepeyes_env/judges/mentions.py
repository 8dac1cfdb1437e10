"""Where a text names options, by letter or by their own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from deepeyes_env.judges.markup import WORD_SIGN, plain
from deepeyes_env.judges.phrases import vocabulary
from deepeyes_env.judges.quantities import number_word
from deepeyes_env.judges.units import CURRENCY_NAMES
from deepeyes_env.option_letters import option_index

_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\u0e00-\u0e7f]"  # scripts without spaces: each sign is a word
    r"|(?>(?:(?<![A-Za-z\d_)\]])[-+])?[$€£¥]?\d+(?:[.,:/]\d+)*)(?![^\W\d_])(?:\s?(?:%|percent\b))?"
    rf"|{WORD_SIGN}+(?:'{WORD_SIGN}+)?"
)
_ARTICLES = vocabulary("a an the")
_SMALL_WORDS = vocabulary("to of in on at is are it with by from")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
# Texts with other signs, such as formulas, are looked for as they stand.
_ORDINARY = re.compile(r"[\w\s.,;:'\"!?%$€£¥()/&-]*")
_OPERATORS = "+-*/^=<>\\"

_EDGE = r"A-Za-z0-9À-ɏ_'"
_BRACKETED = r"[(\[{<\"']\s?([A-Za-z]{1,2})\s?[)\]}>\"']"
_CAPITAL = rf"(?<![{_EDGE}-])(?<![A-Za-z\d]\.)([A-Z]{{1,2}})(?![{_EDGE}]|-\S|\.[a-z\d]|\.[A-Z](?![a-z]))"
_LOWER = r"(?:^|(?<=[\n.;:] ))\s*([a-z]{1,2})(?=[).:](?:\s|$)|\s*$)"
_NAMED = (
    r"(?i:option|choice|letter|alternative|opci[oó]n|opç[aã]o|optie|opzione|вариант|选项|選項|選択肢|보기|विकल्प)"
    r"\s?[:#]?\s?[(\[\"']?([A-Za-z]{1,2})(?![A-Za-z0-9_'])[)\]\"']?"
)
_LETTER = re.compile(f"{_NAMED}|{_BRACKETED}|{_CAPITAL}|{_LOWER}", re.MULTILINE)
_ORDINAL = re.compile(r"(?i:\b(first|second|third|fourth|fifth|sixth|last) (?:option|choice|answer|alternative)\b)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_AFTER_ARTICLE = re.compile(
    r" (?!\w{1,6} [A-Z]\b)"
    r"(?!(?:is|isn't|or|and|nor|because|since|as|would|seems|looks|appears|matches|fits|should|must|was|not|instead|but"
    r"|rather|cannot|can't|doesn't|does|best|with certainty|over|for|if|it|i|in|the|which|where|so|then|here)\b)[a-z]"
)
_BETWEEN = re.compile(
    r"[\s)\]}.:,;=>\"'-]*(?:\(|(?:which|that) (?:is|says|shows) |(?:is|says|reads|i\.e\.|namely) )?"
    r"(?:the |an? )?[\s(\[\"':]*",
    re.IGNORECASE,
)
_BEFORE_LETTER = re.compile(
    r"[ \"']*[,:-]? *[(\[]?(?:i\.e\.,?\s|which is\s|that is,?\s)?(?:option |choice |answer |letter )?"
)


@dataclass(frozen=True, slots=True)
class Mention:
    """Options named at one place of a text.

    Attributes:
        start: Where it begins.
        end: Where it ends.
        options: Indices of the options; several for a text that is that of several options, for a letter beside
            another option's text, and for options in a list.
        by_letter: Whether a letter names them.
        by_text: Whether their own words do.
    """

    start: int
    end: int
    options: frozenset[int]
    by_letter: bool = False
    by_text: bool = False


def words(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a text in the form in which equal ones are equal, with their places, without articles."""
    found: list[tuple[str, int, int]] = []
    for match in _WORD.finditer(text):
        word = _canonical(match[0])
        if found and (sign := CURRENCY_NAMES.get(word)) and found[-1][0].replace(".", "").isdecimal():
            number, start, _ = found.pop()
            found.append((sign + number, start, match.end()))
        elif word not in _ARTICLES or (
            match[0] == "A" and match.start() and not _AFTER_ARTICLE.match(text, match.end())
        ):
            found.append((word, match.start(), match.end()))  # "Vitamin A" ends with no article
    return found


def listed_words(text: str) -> Iterable[str]:
    """Return the words of a text without their places."""
    return (word for word, _, _ in words(text))


def _canonical(word: str) -> str:
    word = word.casefold().replace("percent", "%").replace(" ", "")
    if _THOUSANDS.fullmatch(word):
        return word.replace(",", "")
    return number_word(word) or word


class OptionWords:
    """The words of each option, and of what sets it apart from the others, ready to be looked for.

    Args:
        texts: Texts of the options.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        ordinary = [plain(text) for text in texts]
        listed = [tuple(word for word, _, _ in words(text)) if _ORDINARY.fullmatch(text) else () for text in ordinary]
        named: dict[tuple[str, ...], set[int]] = {}
        for index, own in enumerate(listed):
            if own and not (len(own) == 1 and len(own[0]) == 1 and own[0].isascii() and own[0].isalpha()):
                named.setdefault(own, set()).add(index)
        for index, own in enumerate(_distinctive(listed)):
            named.setdefault(own, set()).add(index)
        self._literal = [
            (" ".join(text.split()).casefold(), frozenset([index]))
            for index, text in enumerate(ordinary)
            if not _ORDINARY.fullmatch(text)
        ]
        self._literal.sort(key=lambda literal: len(literal[0]), reverse=True)
        self._by_first: dict[str, list[tuple[tuple[str, ...], frozenset[int]]]] = {}
        for own in sorted(named, key=len, reverse=True):
            if len({texts[index].strip().casefold() for index in named[own]}) == 1:
                self._by_first.setdefault(own[0], []).append((own, frozenset(named[own])))

    def find(self, text: str) -> list[Mention]:
        """Return where a text holds the words of an option; of several that begin at one word the longest."""
        said = words(text)
        found, place = self._find_literal(text), 0
        said = [word for word in said if not any(span.start <= word[1] < span.end for span in found)] if found else said
        plain_words = [word for word, _, _ in said]
        while place < len(said):
            for own, options in self._by_first.get(plain_words[place], ()):
                if tuple(plain_words[place : place + len(own)]) == own:
                    last = place + len(own) - 1
                    start, end = said[place][1], said[last][2]
                    if not self._literal or _stands_alone(text, start, end):
                        found.append(Mention(start, end, options, by_text=True))
                    place = last
                    break
            place += 1
        return found

    def _find_literal(self, text: str) -> list[Mention]:
        folded = text.casefold()
        if len(folded) != len(text):
            return []
        found: list[Mention] = []
        for own, options in self._literal:
            start = folded.find(own)
            while start >= 0:
                end = start + len(own)
                mention = Mention(start, end, options, by_text=True)
                if _stands_alone(folded, start, end) and not _within(mention, found):
                    found.append(mention)
                start = folded.find(own, end)
        return found


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether what stands at a place is not part of a longer word or formula."""
    beside = text[max(0, start - 1) : start] + text[end : end + 1]
    near = text[max(0, start - 3) : start].rstrip()[-1:] + text[end : end + 3].lstrip()[:1]
    return not any(sign.isascii() and sign.isalnum() for sign in beside) and not any(
        sign in _OPERATORS for sign in near
    )


option_words = lru_cache(maxsize=64)(OptionWords)


def _distinctive(listed: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return what is left of sentences that differ in some words only, as in "It is red", "It is blue"."""
    if len(listed) < 2 or min(map(len, listed)) < 2:
        return []
    shortest = min(map(len, listed))
    same = [all(own[i] == listed[0][i] for own in listed) for i in range(shortest)]
    before = same.index(False) if False in same else shortest
    same = [all(own[-1 - i] == listed[0][-1 - i] for own in listed) for i in range(shortest - before)]
    after = same.index(False) if False in same else shortest - before
    cores = [_trimmed(own[before : len(own) - after]) for own in listed]
    usable = before + after > 0 and all(cores) and len(set(cores)) == len(cores)
    return cores if usable and all(len("".join(core)) > 1 for core in cores) else []


def _trimmed(own: tuple[str, ...]) -> tuple[str, ...]:
    while own and own[0] in _SMALL_WORDS:
        own = own[1:]
    while own and own[-1] in _SMALL_WORDS:
        own = own[:-1]
    return own


def mentions(text: str, texts: Sequence[str]) -> list[Mention]:
    """Return where a text (``plain``) names options, in order; a letter and the text beside it are one mention."""
    by_text = option_words(tuple(texts)).find(text) if any(texts) else []
    by_letter = [found for found in _letters(text, texts) if not _within(found, by_text)]
    return _merged(text, sorted((*by_text, *by_letter), key=lambda found: (found.start, found.end)))


def _within(found: Mention, others: Iterable[Mention]) -> bool:
    return any(other.start < found.end and found.start < other.end for other in others)


def _letters(text: str, texts: Sequence[str]) -> list[Mention]:
    found = []
    for match in _LETTER.finditer(text):
        named, bracketed, capital, lower = match.groups()
        letter = named or bracketed or capital or lower
        if named and named.islower() and _AFTER_ARTICLE.match(text, match.end()):
            continue  # "option a man would choose"
        if capital and (capital == "I" or (capital == "A" and _AFTER_ARTICLE.match(text, match.end()))):
            continue
        index = option_index(letter)
        if index is not None and index < len(texts):
            found.append(Mention(match.start(), match.end(), frozenset([index]), by_letter=True))
        elif options := frozenset(i for i, own in enumerate(texts) if own == letter):
            found.append(Mention(match.start(), match.end(), options, by_text=True))
    for match in _ORDINAL.finditer(text):
        place = len(texts) - 1 if match[1].lower() == "last" else _ORDINALS.index(match[1].lower())
        if place < len(texts) and any(texts):
            found.append(Mention(match.start(), match.end(), frozenset([place]), by_letter=True))
    return found


def _merged(text: str, found: Sequence[Mention]) -> list[Mention]:
    merged: list[Mention] = []
    for mention in found:
        last = merged[-1] if merged else None
        if last is not None and last.by_letter != mention.by_letter and not (last.by_letter and last.by_text):
            both = _beside(text, last, mention)
            if both is not None:
                merged[-1] = both
                continue
        merged.append(mention)
    return merged


def _beside(text: str, one: Mention, other: Mention) -> Mention | None:
    """Return one mention for a letter and a text that belong together; ``None`` if they do not."""
    between = text[one.end : other.start]
    if len(between) > 40 or (_BETWEEN if one.by_letter else _BEFORE_LETTER).fullmatch(between) is None:
        return None
    agreed = one.options & other.options
    if not agreed and re.search(r"[a-z\n]", between):  # "A is blue" may be said of another thing than the option
        return None
    return Mention(one.start, other.end, agreed or one.options | other.options, by_letter=True, by_text=True)
