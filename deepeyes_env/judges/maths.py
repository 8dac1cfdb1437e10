"""MathJudge: are two mathematical expressions equal, by math-verify (the extra ``math``)."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import threading
from pathlib import Path

from deepeyes_env.core import Sample
from deepeyes_env.errors import JudgeError, UsageError
from deepeyes_env.extras import missing_extra
from deepeyes_env.judges.base import Verdict
from deepeyes_env.judges.quantities import asks_percentage
from deepeyes_env.side_process import SideProcess

logger = logging.getLogger(__name__)

WORKER = Path(__file__).with_name("math_worker.py")
"""The script that runs math-verify."""

_LONGEST = 500  # characters; math-verify takes seconds for deeply nested expressions beyond
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
_MATHEMATICAL = re.compile(r"[0-9\\+*/^=<>]")
_CHOICE = re.compile(r"\s*\(?[A-Z][).:]")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DRESS = re.compile(r"\\(?:text|mathrm|textrm|mbox|rm)(?![A-Za-z])|\\[,;:! ]|[${}~\s]")
_WITH_UNIT = re.compile(
    r"(?:[A-Za-z]=)?(?:\\(?:[dt]?frac|sqrt|pi)(?![a-z])|[^A-Za-z\\])*?[\d)](\^\\circ|\\?%|[A-Za-z]+(?:\^\d)?)\.?"
)
_SCALE = re.compile(r"°\s*[A-Za-z]")
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[A-Za-z]|\([^()]*\)|\{[^{}]*\})")
_PERCENT = re.compile(r"([^%]*\d[^%]*?)\s*\\?%")
_FUNCTIONS = {"sqrt", "frac"}
_UNITS = {"mm", "cm", "km", "ft", "in", "inches", "feet", "meters", "kg", "units", "degrees", "square"}
_ALIASES = {"meters": "m", "feet": "ft", "inches": "in", "^\\circ": "degrees", "\\%": "%"}
_ANY_UNIT = frozenset((*_UNITS, *"mgshlLNJWVAKtC", "%"))


def math_verify_installed() -> bool:
    """Whether the extra ``math`` is installed; imports nothing."""
    return importlib.util.find_spec("math_verify") is not None


class MathJudge:
    r"""Compares mathematical expressions, LaTeX or plain: ``\frac{24}{2}`` is ``12``.

    Abstains on what it cannot judge: multiple choice, words (for the parser ``felt`` and ``left`` are equal products of
    letters), expressions that do not parse, that are longer than 500 characters, or that take too long.

    math-verify's own time limits work in the main thread only, and cannot stop an expression such as ``9^{9^9}``, or
    one that crashes the interpreter. So it runs in one process beside, started on first use (about a second), shared by
    all threads, and replaced when an expression ends it. Pickles without the process. POSIX only.

    Args:
        seconds: Time for one comparison; beyond it the judge abstains.

    Raises:
        UsageError: ``seconds`` is not positive.
    """

    def __init__(self, seconds: float = 5.0) -> None:
        if not seconds > 0:
            raise UsageError(f"MathJudge(seconds={seconds!r}): must be positive")
        self.seconds = seconds
        self._worker: SideProcess | None = None
        self._lock = threading.Lock()

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer.

        Raises:
            MissingExtraError: math-verify is not installed.
            JudgeError: The process that runs math-verify cannot be started.
        """
        texts = _same_percentage(unboxed(prediction), unboxed(sample.answer), sample.question)
        if any(map(_SCALE.search, texts)):  # 20 °C or 30° N: no angle
            return None
        given, expected = map(in_latex, texts)
        if sample.options or not comparable(given, expected):
            return None
        equal = self._ask(given, expected)
        return None if equal is None else Verdict(float(equal), "math", "equal" if equal else "not equal")

    @property
    def worker_pid(self) -> int | None:
        """Id of the process that runs math-verify; ``None`` before the first expression."""
        return None if self._worker is None else self._worker.pid

    def _ask(self, prediction: str, answer: str) -> bool | None:
        with self._lock:
            if self._worker is None or not self._worker.is_ours:
                self._worker = _started(self.seconds)
            worker = self._worker
            try:
                worker.say([prediction, answer])
                verdict: bool | None = worker.hear()
            except BaseException as error:
                self._worker = None
                worker.end()  # the next call would be given this one's answer
                if not isinstance(error, EOFError):
                    raise
                logger.debug("math-verify was ended by %r against %r", prediction, answer)
                return None
            return verdict

    def __getstate__(self) -> float:
        return self.seconds

    def __setstate__(self, seconds: float) -> None:
        self.__init__(seconds)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"MathJudge(seconds={self.seconds})"


def unboxed(text: str) -> str:
    r"""Return the content of a text that is one ``\boxed{...}``, any other text without the spaces around it."""
    text = text.strip()
    return text[len("\\boxed{") : -1] if text.startswith("\\boxed{") and text.endswith("}") else text


def _same_percentage(prediction: str, answer: str, question: str) -> tuple[str, str]:
    """Divide a percentage by 100 if the other text is none: for math-verify ``7%`` is both 7 and 0.07.

    Where the question asks for a percentage, the sign is left out instead if both have the same figure.
    """
    texts = [prediction.strip(" $."), answer.strip(" $.")]
    signed = [_PERCENT.fullmatch(text) for text in texts]
    if (signed[0] is None) == (signed[1] is None) or any(_unit(in_latex(text)) not in ("", "%") for text in texts):
        return prediction, answer
    figures = [match[1].strip() if match else text for match, text in zip(signed, texts, strict=True)]
    if asks_percentage(question.casefold()) and figures[0] == figures[1]:
        return figures[0], figures[1]
    given, expected = (f"({match[1]})/100" if match else text for match, text in zip(signed, texts, strict=True))
    return given, expected


def in_latex(text: str) -> str:
    r"""Write degree and root signs as LaTeX: ``145°`` as ``145^\circ``, ``2√3`` as ``2\sqrt{3}``."""
    return _ROOT.sub(lambda match: f"\\sqrt{{{match[1].strip('(){}')}}}", text.rstrip(". ").replace("°", "^\\circ"))


def comparable(prediction: str, answer: str) -> bool:
    """Whether both texts can be read as mathematics: signs or digits on both sides, and no words that would matter.

    The same words on both sides are fine, and so is a unit of measurement on one; two units have to be the same.
    """
    if len(prediction) > _LONGEST or len(answer) > _LONGEST or "\n" in prediction:
        return False
    if "\\boxed" in prediction or not _braces_match(prediction):
        return False
    if not (_MATHEMATICAL.search(prediction) and _MATHEMATICAL.search(answer)) or _CHOICE.match(prediction):
        return False
    units = _unit(prediction), _unit(answer)
    if all(units):
        return units[0] == units[1]
    given, expected = (
        [word for word in _WORD.findall(text) if word not in _FUNCTIONS] for text in (prediction, answer)
    )
    return given == expected or (not (given and expected) and _UNITS.issuperset(given + expected))


def _unit(text: str) -> str:
    found = _WITH_UNIT.fullmatch(_DRESS.sub("", text))
    unit = _ALIASES.get(found[1], found[1]) if found else ""
    return unit if unit.partition("^")[0] in _ANY_UNIT else ""


def _braces_match(text: str) -> bool:
    depth = 0
    for brace in _BRACE.findall(text):
        depth += {"{": 1, "}": -1}.get(brace, 0)
        if depth < 0:
            return False
    return depth == 0


def _started(seconds: float) -> SideProcess:
    """Start a process of ``math_worker.py``, and wait until it has imported math-verify."""
    if not math_verify_installed():
        raise missing_extra("math-verify", "math")
    try:
        worker = SideProcess(WORKER, repr(seconds))
    except OSError as error:
        raise JudgeError(f"MathJudge: cannot start {sys.executable} to run math-verify: {error}") from error
    if (problem := worker.problem()) is not None:
        raise JudgeError(f"MathJudge: math-verify does not start: {problem}")
    return worker
