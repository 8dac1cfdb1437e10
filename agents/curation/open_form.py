"""Choice to open question, where the text allows it: no question is left open whose answer depends on its options.

A question may lose its options only where it asks for something that its image settles in one way: a colour, a count,
yes or no, what is written, a name, the result of a calculation, or one of alternatives that it names itself. All
else keeps them: what "best describes" an image, or is the "closest", or which "kind" a thing is of, is known from the
options alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepeyes_env.core import Sample
from deepeyes_env.judges.choices import choices_of, options_in
from deepeyes_env.judges.markup import plain
from deepeyes_env.judges.maths import unboxed
from deepeyes_env.judges.quantities import read_quantity
from deepeyes_env.judges.text import key, polarity, tidy

MAX_ANSWER_WORDS = 6
"""A longer answer is a sentence, and others say the same."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a question may be asked.

    Attributes:
        open: Whether its answer stands without options.
        reason: Why, in a few words.
        question: The question as it is asked without options; as it was where it keeps them.
        answer: Its answer, normalised; the text of an option, as it was, where the question keeps its options.
    """

    open: bool
    reason: str
    question: str
    answer: str

    def applied(self, sample: Sample) -> Sample:
        """Return a sample in this form; one that keeps its options is not changed but for its answer."""
        if not self.open:
            return sample
        told = self.question != sample.question or bool(sample.options)
        # The row's own prompt lists the options.
        messages = () if told else sample.messages
        return replace(sample, question=self.question, answer=self.answer, options=(), messages=messages)


def form_of(sample: Sample) -> Form:
    """Return how a question may be asked; never raises, whatever the texts."""
    listed = () if sample.options else options_in(sample.question)
    found = choices_of(sample)
    options = sample.options or (listed if found is not None and any(found.texts) else ())
    stem = _stem(sample.question, bool(listed and options))
    if not options:
        return _without_options(sample, stem)
    right = {options[i] for i in found.right} if found is not None else set()
    if len(right) != 1:
        return Form(False, "its right option is not clear", sample.question, sample.answer)
    answer = right.pop()
    if reduced := _reduced(options):
        answer, options = reduced[options.index(answer)], reduced
    short = _distinct(answer, options) if _names_alternatives(stem, options) else normalised(answer)
    reason = _needs_options(stem, answer, options) or ""
    why = "" if reason else _settled(stem, answer, options)
    if reason or not why:
        reason = reason or "it may have other right answers than its options"
        return Form(False, reason, sample.question, sample.answer)
    return Form(True, why, stem, short)


def normalised(answer: str) -> str:
    """Return an answer without markup, wrappers and trailing punctuation; yes and no in lower case."""
    bare = tidy(unboxed(answer))
    return polarity(key(bare)) if polarity(key(bare)) == key(bare) else bare


# --- the question without its options --------------------------------------------------------------------------------

_INSTRUCTION = re.compile(
    r"(?:\n|(?<=[.?!:])\s|^)\s*(?:please\s+)?(?:answer|select|choose|respond|reply|provide|give|output|pick|write|indicate)"
    r"[^\n?]*?\b(?:options?|choices?|letters?|given|correct|best|below|above|a, b)\b[^\n?]*(?=\n|$)",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(?:^|\n|(?<=[.?!])\s)\s*(?:options?|choices?|candidates?)\s*(?:are|:)?\s*:?\s*$", re.IGNORECASE)
_LIST = re.compile(r"(?:(?<=\s)|^)\(?A[).:]+\s")


def _stem(question: str, listed: bool) -> str:
    """Return a question without the options that it lists and the instructions to choose one."""
    text = question
    if listed:
        starts = [match.start() for match in _LIST.finditer(text)]
        text = text[: starts[-1]] if starts else text
    for _ in range(3):
        before = text
        text = _HEADING.sub("", _INSTRUCTION.sub("", text)).rstrip()
        if text == before:
            break
    return text if text.strip() else question


_REFERS = re.compile(
    r"\b(?:following|options?|choices?|choose|select(?:ed)?|alternatives?|candidates?|listed|statements?|sentences?"
    r"|descriptions?|(?:given|shown|presented|provided) (?:below|above)|below\s*[:?.]?$|above options?|captions?)\b"
    r"|\btitles?\b|_{2,}|\bwhich (?:one|of these|of those|answer)\b|\b(?:among|out of) (?:these|those|them)\b",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:best|most|least|closest|nearest to|similar|probably|likely|possibl[ey]|might|may|could|would|should|infer\w*"
    r"|conclu\w+|suggest\w*|impl(?:y|ies|ied)|approximate(?:ly)?|roughly|about how|around how|estimate\w*|almost|mainly"
    r"|primary|main|purpose|reason|why|describe\w*|mood|feeling|emotion\w*|expression|atmosphere|theme|style|impression"
    r"|relationship|function|happen\w*|doing|appropriate|suitable|typical\w*|generally|usually|meaning|mean|symboli[sz]\w*"
    r"|represent\w*|true|false|correct\w*|incorrect\w*|wrong|except|not|n't|never|kind|type|sort|category|class|genre"
    r"|pattern|activity|action|scene|place|location|room|occupation|job|range|between|more than|less than|at least"
    r"|at most|of one|one of|some|any of|each|every|cannot|majority|(?:you|they) think|guess|of an?"
    r"|minority|part of|(?:says?|reads?) about|visible|shown|present|seen|found|appears?"
    r"|in the (?:image|picture|photo|scene)|how (?:old|tall|far|long|large|big|wide|high|heavy|deep|is|does|do|are))\b",
    re.IGNORECASE,
)
_META = re.compile(
    r"\b(?:all|none|both|neither|either|any) (?:of|are|the)\b|\w (?:above|below)$|^(?:all|none|both|neither|others?)$"
    r"|\b(?:cannot|can not|can't|not|unable|unclear|unknown|uncertain|insufficient|impossible|unsure)\b"
    r"|^\(?[a-h]\)? (?:and|or|&) \(?[a-h]\)?$|^(?:only )?\(?[a-h]\)? ?only$|^(?:i+|iv|v)(?:,| and )",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:(?:image|picture|figure|panel|option|box|region|graph|diagram|shape|object)\s*)?\(?[a-z0-9]\)?", re.I
)


def _needs_options(stem: str, answer: str, options: Sequence[str]) -> str:
    """Return why a question cannot be asked without its options; empty if nothing says so."""
    if found := _REFERS.search(stem):
        return f"it speaks of its options ({found[0].strip().lower()})"
    if _META.search(key(answer)) and not polarity(key(answer)):
        return "its answer speaks of the options"
    if len(answer.split()) > MAX_ANSWER_WORDS and not _names_alternatives(stem, options):
        return "its answer is a sentence"
    if not _names_alternatives(stem, options) and (other := _finer(answer, options)):
        return f"only the options tell {tidy(answer)!r} from {tidy(other)!r}"
    return ""


def _finer(answer: str, options: Sequence[str]) -> str:
    """Return an option that says the same as the answer, only more or less finely, such as red and dark red."""
    words = set(key(answer).split())
    for option in options:
        others = set(key(option).split())
        if others and words and others != words and (others < words or words < others):
            return option
    return ""


# --- what an image settles -------------------------------------------------------------------------------------------

_WORD = r"[\w'-]+"
_COLOUR = re.compile(
    r"\bcolou?rs? (?:is|are|was|were) (?:the|his|her|its)\b|\bthe colou?r of (?:the|his|her|its|\w+'s)\b", re.I
)
_COLOURS = frozenset(
    [
        "red",
        "green",
        "blue",
        "yellow",
        "orange",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "grey",
        "gray",
        "silver",
        "gold",
        "golden",
        "beige",
        "tan",
        "cyan",
        "magenta",
        "violet",
        "maroon",
        "navy",
        "turquoise",
        "teal",
        "cream",
        "khaki",
    ]
)
_SHADES = frozenset(("light", "dark", "and", "with", "bright", "pale", "deep", "stripes", "striped"))
_COUNT = re.compile(r"\bhow many\b|\bwhat is the (?:total )?number of\b|\bcount the\b", re.IGNORECASE)
_YES_NO = re.compile(r"(?:.*[.:,]\s+)?(?:is|are|was|were|does|do|did|has|have|can)\b", re.IGNORECASE | re.DOTALL)
_NOUN = (
    "(?:number|letter|word|text|digit|name|brand|logo|date|year|day|month|time|price|score|address|phone number|plate"
    "|speed limit|temperature|language|country|city|team|airline|company|university|state)s?"
)
_MANY = "(?:list|table|chart|map|menu|poster|graph|image|picture|photo|scene|shelf|street)"
"""Where there are many words to be read."""
_READING = re.compile(
    rf"\b(?:what|which) (?:is|are|was) the (?:\w+ )?{_NOUN}\b"
    rf"|\b(?:what|which) {_NOUN} (?:is|are|was|were) the\b"
    rf"|\b(?:what|which) {_NOUN} (?:is|are|was|were) (?:\w+ )?(?:on|above|below) the (?!{_MANY}\b|wall\b)"
    r"|\bwhat (?:\w+ )?(?:is|are) (?:written|printed|painted|engraved|displayed) "
    rf"(?:on|above|below|over|at) (?!the {_MANY}\b)"
    rf"|\b(?:what|which) {_NOUN}\b.* (?:written|printed|painted|engraved) on the (?!{_MANY}\b)"
    r"|\bwhat (?:does|do|did) the .*\b(?:say|read|spell)\b|\bwhat time (?:does|do|is)\b"
    r"|\bhow much (?:is|does|do|did) the\b|\bwhat percentage\b"
    rf"|\b(?:what|which) {_NOUN}\b.*\b(?:highest|lowest|largest|smallest|greatest|fewest|longest|shortest|biggest"
    r"|oldest|youngest|tallest|first|last|won|hosting)\b",
    re.IGNORECASE,
)
_MATERIAL = re.compile(r"\bthe material of (?:the|his|her)\b|\bmade (?:out )?of\b", re.IGNORECASE)
_SIDE = re.compile(r"\b(?:which|what) (?:side|hand|direction|way)\b", re.IGNORECASE)
_SIDES = frozenset(
    [
        "left",
        "right",
        "top",
        "bottom",
        "up",
        "down",
        "upward",
        "downward",
        "north",
        "south",
        "east",
        "west",
        "clockwise",
    ]
)
_PLAIN = re.compile(
    r"\b(?:what|which) (?:animal|fruit|vegetable|sport|instrument|shape|season|vehicle) (?:is|are|was|were) "
    rf"(?:on |in )?the (?!(?:\w+est|most|least)\b|{_MANY}\b)",
    re.IGNORECASE,
)
_CALCULATE = re.compile(
    r"\b(?:find|calculate|compute|solve|evaluate|determine)\b|\bwhat (?:is|are|was|were) (?:the )?(?:[\w-]+ ){0,3}?"
    r"(?:value|area|perimeter|volume|length|measure|sum|difference|product|ratio|angle|radius|diameter|percent(?:age)?|average"
    r"|mean|median|total|population|slope|circumference|degree|m ?\\?angle|x|y)\b",
    re.IGNORECASE,
)


def _settled(stem: str, answer: str, options: Sequence[str]) -> str:
    """Return what kind of answer an image settles in one way; empty where it may be another."""
    if _names_alternatives(stem, options):
        return "it names its alternatives"
    if polarity(key(answer)) == key(answer) != "" and _asks(_YES_NO, stem, "yes or no"):
        return "yes or no"
    if _is_label(answer, options) and not re.search(r"\b(?:letter|number|digit)\b", stem, re.IGNORECASE):
        numeric = _all_numbers(options)
        if not (numeric and any(asked.search(stem) for asked in (_COUNT, _CALCULATE, _READING))):
            return ""
    if _all_numbers(options):
        for asked, kind in ((_COUNT, "count"), (_CALCULATE, "calculation")):
            if _asks(asked, stem, kind):
                return f"a {kind}"
    if _asks(_COLOUR, stem, "colour") and _is_colour(answer):
        return "a colour"
    if _asks(_MATERIAL, stem, "material") and len(answer.split()) == 1:
        return "a material"
    if _asks(_SIDE, stem) and set(key(answer).split()) <= _SIDES:
        return "a side"
    if _asks(_READING, stem):
        return "what is written"
    plain_options = all(len(key(option).split()) == 1 or _META.search(key(option)) for option in options)
    return "a plain thing" if plain_options and _asks(_PLAIN, stem) else ""


def _asks(asked: re.Pattern[str], stem: str, kind: str = "") -> bool:
    """Whether a question asks for something, and not for an opinion, an estimate or one of several."""
    found = asked.match(stem.strip()) if kind == "yes or no" else asked.search(stem)
    return found is not None and not _vague(stem, kind)


_PLACE = r"in the (?:image|picture|photo|scene)|visible|shown|present|seen|found"
_FOR_SOME = {
    # A question that says "not" still has one yes or no, and what is there can be counted.
    "yes or no": rf"{_PLACE}|each|every|of an?|part of|not|n't|between|more than|less than|at least|at most|doing|room",
    "count": rf"{_PLACE}|each|not|kind|type|class|between|more than|less than|at least|at most|doing|room|appears?",
    "calculation": rf"{_PLACE}|of an?|between|mean|most|least|more than|less than",
    "colour": _PLACE,
    "material": _PLACE,
}
"""Words that are harmless where a question asks for something."""


def _vague(stem: str, kind: str = "") -> bool:
    """Whether a question asks for an opinion, an estimate, a class or one of several."""
    harmless = _FOR_SOME.get(kind)
    words = (found[0] for found in _VAGUE.finditer(stem))
    return any(harmless is None or not re.fullmatch(harmless, word, re.IGNORECASE) for word in words)


def _names_alternatives(stem: str, options: Sequence[str]) -> bool:
    """Whether a question itself says what its options say, as in "left or right", so that it loses nothing."""
    if not re.search(r"\bor\b", stem, re.IGNORECASE) or len(options) < 2:
        return False
    said = set(_words(stem))
    return all(set(_words(_distinct(option, options))) <= said and _distinct(option, options) for option in options)


def _reduced(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return what differs between options that are the same sentence otherwise; nothing for others."""
    if not all(len(option.split()) > 3 for option in options):
        return ()
    told = tuple(_distinct(option, options) for option in options)
    return told if all(told) and len(set(told)) == len(told) and all(len(each.split()) <= 3 for each in told) else ()


def _distinct(option: str, options: Sequence[str]) -> str:
    """Return the words of an option that not all options share: "left" of "The dog is on the left side of the man"."""
    if len(option.split()) <= 2:
        return normalised(option)
    shared = set.intersection(*(set(_words(each)) for each in options))
    return " ".join(word for word in _words(option) if word not in shared)


def _words(text: str) -> list[str]:
    return re.findall(_WORD, plain(text).casefold())


def _is_label(answer: str, options: Sequence[str]) -> bool:
    """Whether the options are marks of things in the image, such as B or Figure 2."""
    return all(_LABEL.fullmatch(tidy(option)) for option in options) and bool(_LABEL.fullmatch(tidy(answer)))


def _all_numbers(options: Sequence[str]) -> bool:
    told = [key(option) for option in options if not _META.search(key(option)) and "not feature" not in key(option)]
    return len(told) > 1 and all(
        read_quantity(each) is not None or re.fullmatch(r"[\d\s.,+*/^√π()-]+", each) for each in told
    )


def _is_colour(answer: str) -> bool:
    words = _words(answer.replace("-", " "))
    return bool(set(words) & _COLOURS) and set(words) <= _COLOURS | _SHADES


# --- questions that have no options ----------------------------------------------------------------------------------

_DANGLING = re.compile(
    r"\b(?:which|what|select|choose|pick)\b[^.?!]*\b(?:following|options?|choices?|alternatives?|of these"
    r"|given below)\b"
    r"|\boption'?s? letter\b|\bcorrect (?:option|choice)\b",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\(?[A-H]\)?\.?")


def _without_options(sample: Sample, stem: str) -> Form:
    asks_letter = re.search(
        r"\b(?:letters?|grade|point|angle|label\w*|plate|size|blood|vitamin)\b", sample.question, re.I
    )
    if _DANGLING.search(sample.question):
        return Form(False, "it speaks of options that it lacks", sample.question, sample.answer)
    if _LETTER.fullmatch(sample.answer.strip()) and not asks_letter:
        return Form(False, "its answer is the letter of an option that it lacks", sample.question, sample.answer)
    return Form(True, "it has no options", stem, normalised(sample.answer))
