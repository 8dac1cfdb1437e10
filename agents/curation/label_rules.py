"""What rules and mathematics find wrong with an answer, without any model."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

from deepeyes_env.core import Sample
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH
from deepeyes_env.judges.quantities import number_word, read_quantity
from deepeyes_env.judges.text import key, polarity

_YES_NO = re.compile(r"(?:is|are|was|were|does|do|did|has|have|can) (?:there|it|this|the|that|these|those|any)\b", re.I)
_COUNT = re.compile(r"how many\b", re.IGNORECASE)
_COLOUR = re.compile(r"(?:what|which) colou?r\b|what is the colou?r\b", re.IGNORECASE)
_SUM = re.compile(
    r"(?:what is|what's|calculate|compute|evaluate|find|solve|work out)?:?\s*"
    r"(?P<sum>[\d(][\d\s.()+*/×÷x−^-]*[\d)])\s*=?\s*[?.]?",
    re.IGNORECASE,
)
_LONGEST_SUM = 60


def objections(sample: Sample) -> list[str]:
    """Return what speaks against a sample's answer by itself; nothing where nothing does. Never raises."""
    found = [_form(sample), _boxes(sample), _sum(sample)]
    return [each for each in found if each]


def _form(sample: Sample) -> str:
    answer, question = key(sample.answer), sample.question.strip()
    if len(sample.answer) >= MAX_ANSWER_LENGTH:
        return f"the answer has {len(sample.answer)} characters, {MAX_ANSWER_LENGTH} or more"
    if sample.options:
        return "two options are the same" if len({key(each) for each in sample.options}) < len(sample.options) else ""
    number = read_quantity(answer) is not None
    if _YES_NO.match(question) and " or " not in question and not polarity(answer):
        return "yes or no is asked, and the answer is neither"
    if _COUNT.match(question) and not any(map(_is_count, answer.split())):
        return "a count is asked, and the answer is no number"
    if _COLOUR.match(question) and (number or polarity(answer)):
        return "a colour is asked, and the answer is none"
    return ""


def _is_count(word: str) -> bool:
    return word in ("no", "none") or word[0].isdigit() or bool(number_word(word))


def _boxes(sample: Sample) -> str:
    try:
        sizes = [image.size for image in sample.images]
    except DeepEyesError as error:
        return f"the image cannot be read: {error}"
    for truth in sample.regions:
        (x1, y1, x2, y2), (width, height) = truth.box, sizes[truth.image]
        if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
            return f"the box [{x1:g}, {y1:g}, {x2:g}, {y2:g}] is outside the image of {width} x {height}"
    return ""


def _sum(sample: Sample) -> str:
    found = _SUM.fullmatch(sample.question.strip())
    value = arithmetic(found["sum"]) if found else None
    quantity = read_quantity(key(sample.answer)) if value is not None else None
    if value is None or quantity is None or abs(Fraction(quantity.value) - value) <= abs(value) / 1000:
        return ""
    return f"{found['sum'].strip()} is {float(value):g}, and the answer is {sample.answer}"  # type: ignore[index]


_OPERATIONS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def arithmetic(text: str) -> Fraction | None:
    """Return the value of a sum of numbers with ``+ - * /`` and parentheses; ``None`` for anything else.

    Nothing is evaluated: the text is parsed, and numbers and those signs are all that is understood.
    """
    if len(text) > _LONGEST_SUM:
        return None
    plain = re.sub(r"(?<=[\d) ])x(?=[\d( ])", "*", text).replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        tree = ast.parse(plain.strip(), mode="eval").body
        return _value(tree) if isinstance(tree, ast.BinOp) else None
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("not a sum of numbers")
