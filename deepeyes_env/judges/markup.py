r"""What is said under the markup: special tokens, tags, Markdown, LaTeX, JSON and other scripts' marks taken away.

Models write the same answer as ``**B**``, ``\boxed{\text{B}}``, ``{"answer": "B"}``, ``B<|im_end|>``, or with a
character in it that nobody sees; ``plain`` returns ``B`` for all of them. Where an answer is marked within a longer
text, as by a box, ``answer:`` is written before it. Line ends are kept. All of it takes time linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from deepeyes_env.judges.phrases import vocabulary
from deepeyes_env.protocols.tags import after_thought
from deepeyes_env.strict_json import read_json

_SUPERSCRIPTS = {ord(char): f"^{digit}" for digit, char in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_FRACTIONS = {ord(char): f" {unicodedata.normalize('NFKC', char)}" for char in "¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
# White on black, in a circle or a square.
_NEGATIVE_LETTERS = {first + i: chr(ord("A") + i) for first in (0x1F150, 0x1F170) for i in range(26)}
# NFKC alone would read 10² as 102 and 1½ as 11/2.
_BEFORE_NFKC = _SUPERSCRIPTS | _FRACTIONS | _NEGATIVE_LETTERS
_AFTER_NFKC = str.maketrans(
    {
        **dict.fromkeys("−–—―", "-"),
        **dict.fromkeys("’‘‚‛", "'"),
        **dict.fromkeys("“”„‟«»‹›「」『』《》〈〉", '"'),
        **dict.fromkeys("【〔〖", "["),
        **dict.fromkeys("】〕〗", "]"),
        **dict.fromkeys("。।॥۔።։།", "."),
        **dict.fromkeys("、،", ","),
        **dict.fromkeys("→⇒➔➜⟶", ">"),
        "⁄": "/",
        "؛": ";",
        "؟": "?",
    }
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ue000-\uf8ff\U000e0000-\U000e0fff]"
)

WORD_SIGN = r"(?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff])"
"""Matches one sign of a word; vowel signs are part of words, whatever ``re`` says."""

_MARKUP = re.compile(r"[<\[*_`~#$\\{|>•+-]")
_TOKEN = re.compile(
    r"<\|[^<>|\s]{1,40}\|>(?:(?:assistant|user|system)\b)?|</?s>"
    r"|</?(?:eos|bos|pad|unk|start_of_turn|end_of_turn|end_of_utterance)>|\[/?INST\]"
)
_STRUCK = re.compile(r"~~[^~\n]+~~|<(?:del|strike)>[^<>\n]*</(?:del|strike)>")
_ANSWER_TAG = re.compile(r"<(?:answer|ans|final_?answer|choice|option)\s?>", re.IGNORECASE)
_TAG = re.compile(
    r"</[A-Za-z][\w-]{0,20}\s?>|<(?:think|output|response|result|box|strong|em|br|p|div|span|code|mark|sub|sup"
    r"|[biu](?=>[^<>]{0,200}</))\s?/?>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*```[^\n`]*$|```", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*+•>][ \t]+(?=[^\W\d]|[(\[{*_\"\\$]))", re.MULTILINE)
_BOLD = re.compile(r"(?<![\d*])\*{2,3}([^*\n]+)\*{2,3}(?![\d*])|(?<!\w)__([^_\n]+)__(?!\w)")
_ITALIC = re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])|(?<!\w)_([^_\n]+)_(?!\w)")
_CODE = re.compile(r"`([^`\n]+)`")
_LATEX_SPACE = re.compile(r"\\[,;:! ]|~(?=\\)|\\(?:left|right|quad|qquad)(?![A-Za-z])")
_DEGREES = re.compile(r"\s?\^\s?\{?\\circ\}?|\\degree(?![a-z])")
_COMMAND = re.compile(
    r"\\(?P<name>[mf]?boxed|fbox|text(?:bf|it|rm|tt|sf)?|math(?:rm|bf|it|tt|sf)|mbox|emph|underline)\s*"
    r"\{(?P<content>[^{}]*)\}"
)
_MATHS = re.compile(r"\$\$([^$]+)\$\$|(?<!\\)\$(?=\S)([^$\n]+)(?<=[^\s\\])\$(?!\d)|\\\(([^\\]+)\\\)|\\\[([^\\]+)\\\]")
_ESCAPED = re.compile(r"\\([%$#&_])")
_BOXES = ("boxed", "mboxed", "fboxed", "fbox")
_DEPTH = 4  # LaTeX commands within one another

_OBJECT = re.compile(r"\{[^{}]*\}")
_PAIR = re.compile(r"""['"](\w{1,40})['"]\s*:\s*(?:"([^"\\]*)"|'([^'\\]*)'|([^\s'",{}\[\]]+))""")
_ANSWER_FIELDS = vocabulary(
    "answer finalanswer final ans option choice letter selection selected selectedoption selectedanswer",
    "selectedchoice chosenoption correctanswer correctoption correctchoice optionletter answerletter",
    "prediction response result output 答案 选项",
)
_THOUGHTS = vocabulary(
    "thought thoughts thinking reason reasoning rationale explanation question error",
)
_BESIDE_FIELDS = vocabulary(
    "text value label content optiontext answertext description",
)


def unified(text: str) -> str:
    """Return ``text`` in one Unicode form (NFKC), marks of other scripts as ASCII has them, unseen characters gone."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_BEFORE_NFKC)).translate(_AFTER_NFKC)
    return _UNSEEN.sub("", text)


def without_tokens(text: str) -> str:
    """Return a text in one Unicode form, without special tokens, code fences and a thought before the answer."""
    text = unified(text)
    return _FENCE.sub("\n", _TOKEN.sub("\n", _after_thinking(text))) if _MARKUP.search(text) else text


def plain(text: str) -> str:
    """Return what is said under the markup; see the module."""
    text = without_tokens(text)
    if _MARKUP.search(text) is None:
        return text
    text = _read_objects(text)
    text = _TAG.sub(" ", _marked(_ANSWER_TAG, _STRUCK.sub(" ", text)))
    text = _without_latex(text)
    for pattern in (_LINE_MARK, _ITALIC, _BOLD, _ITALIC, _CODE):
        text = pattern.sub(_inside, text)
    return text


def _after_thinking(text: str) -> str:
    said = after_thought(text)
    return said if said.strip() else text


def _inside(match: re.Match[str]) -> str:
    return next((group for group in match.groups() if group is not None), "")


def _marked(opening: re.Pattern[str], text: str) -> str:
    """Write ``answer:`` in place of a mark before an answer, unless the text begins with it."""
    begins = len(text) - len(text.lstrip())
    return opening.sub(lambda match: " answer: " if match.start() > begins else "", text)


def _without_latex(text: str) -> str:
    text = _MATHS.sub(_inside, text.replace("{,}", ","))
    if "\\" in text:
        text = _DEGREES.sub("°", _LATEX_SPACE.sub(" ", text))
        for _ in range(_DEPTH):
            before = text
            text = _without_commands(before)
            if text == before:
                break
    return _ESCAPED.sub(r"\1", _MATHS.sub(_inside, text))


def _without_commands(text: str) -> str:
    whole = len(text.strip(" \n\t$.\\[]()"))

    def content(match: re.Match[str]) -> str:
        marked = match["name"] in _BOXES and len(match[0]) < whole
        return f" answer: {match['content']}" if marked else match["content"]

    return _COMMAND.sub(content, text)


def _read_objects(text: str) -> str:
    """Put the answer of each JSON object that has one in the object's place."""
    if "{" not in text:
        return text
    whole = text.strip()
    is_object = whole.startswith("{") and (whole.endswith("}") or "}" not in whole)
    if is_object and (answers := _read_object(whole)):
        return answers
    if whole.startswith("[{") and whole.endswith("}]"):
        whole = whole[1:-1]

    def answers_of(match: re.Match[str]) -> str:
        answers = _read_object(match[0])
        return answers if match[0] == whole or not answers else f"\nanswer: {answers}\n"

    return _OBJECT.sub(lambda match: answers_of(match) or match[0], whole)


def _read_object(text: str) -> str:
    """Return the answers in an object, one a line; ``""`` if it is none, or has none."""
    if ":" not in text:
        return ""
    try:
        value = read_json(text)
    except ValueError:  # Python's quotes, or cut off
        if "}" in text[:-1]:  # several, or one within another
            return ""
        fields = {name: next(filter(None, values), "") for name, *values in _PAIR.findall(text)}
        return "\n".join(_answers(fields, cut=True))
    return "\n".join(_answers(value)) if isinstance(value, dict) else ""


def _answers(fields: dict[str, Any], depth: int = 0, *, cut: bool = False) -> Iterator[str]:
    """Yield what an object's answer fields hold; the value of its only field, whatever it is called, if it is whole."""
    named = {re.sub(r"[\W_]", "", name).casefold(): value for name, value in fields.items()}
    if _ANSWER_FIELDS.isdisjoint(named):
        if len(fields) != 1 or cut:
            return
        ((name, value),) = fields.items()
        if name.casefold() in _THOUGHTS:
            return
        found = [f"{name}: {value}" if len(name) == 1 else value]
    else:
        found = [value for name, value in named.items() if name in _ANSWER_FIELDS | _BESIDE_FIELDS]
    for value in found:
        if isinstance(value, dict):
            yield from _answers(value, depth + 1) if depth < _DEPTH else ()
        elif isinstance(value, list):
            yield ", ".join(str(item) for item in value if isinstance(item, str | int | float))
        elif value is not None:
            yield str(value)
