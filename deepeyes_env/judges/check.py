"""check: is a judging model there, is it quick, and does it judge as it should."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepeyes_env.core import Sample
from deepeyes_env.errors import JudgeError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.judges.base import Judge

LEAST_AGREEMENT = 0.9
"""Share of the known answers that a judge which can be used judges right."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer of which everybody knows whether it is right.

    Attributes:
        question: What was asked.
        right: The right answer.
        given: The answer to judge.
        is_right: Whether it says the same.
    """

    question: str
    right: str
    given: str
    is_right: bool

    @property
    def sample(self) -> Sample:
        """The question as a judge gets it; none of ours looks at the image."""
        blank = ImageRef(np.zeros((1, 1, 3), np.uint8), name="an image that no judge looks at")
        return Sample("known", self.question, self.right, (blank,))


KNOWN_ANSWERS = tuple(
    KnownAnswer(*each)
    for each in (
        ("What is the color of the flag?", "The color of the flag is red.", "It is red.", True),
        ("What is the color of the flag?", "The color of the flag is red.", "It is green.", False),
        ("What animal lies on the sofa?", "a cat", "There is a cat on it", True),
        ("What animal lies on the sofa?", "a cat", "A small brown dog.", False),
        ("How many people are in the boat?", "3", "three", True),
        ("How many people are in the boat?", "3", "four", False),
        ("Is the lamp left or right of the door?", "The lamp is on the left side of the door.", "left", True),
        ("Is the lamp left or right of the door?", "The lamp is on the left side of the door.", "right", False),
        ("In which year is the bar the highest?", "2014", "In 2014 the bar is the highest.", True),
        ("In which year is the bar the highest?", "2014", "In 2015 the bar is the highest.", False),
        ("What is written on the sign?", "STOP", "The sign says stop", True),
        ("What is written on the sign?", "STOP", "There is no sign, so I cannot tell.", False),
    )
)


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """How a judge did on answers that everybody knows.

    Attributes:
        asked: How many answers it was asked about.
        wrong: Those that it judged wrong.
        alone: Seconds of a judgement when nothing else is asked.
        latencies: Seconds of each, all asked at once.
    """

    asked: int
    wrong: tuple[KnownAnswer, ...]
    alone: float
    latencies: tuple[float, ...]

    @property
    def agreement(self) -> float:
        """Share of the answers that it judged right."""
        return 1 - len(self.wrong) / self.asked

    def check(self) -> None:
        """Raise ``JudgeError`` if it cannot be used."""
        if self.agreement < LEAST_AGREEMENT:
            told = "; ".join(
                f"{each.given!r} for {each.right!r} is {'right' if each.is_right else 'wrong'}" for each in self.wrong
            )
            raise JudgeError(
                f"the judge agrees on {self.asked - len(self.wrong)} of {self.asked} answers that everybody knows, and "
                f"should on {LEAST_AGREEMENT:.0%}: take a larger model, or another prompt ({told})"
            )


def check_judge(judge: Judge, known: Sequence[KnownAnswer] = KNOWN_ANSWERS) -> JudgeReport:
    """Ask a judge about answers that everybody knows: the first alone, then all at once, as rollouts do.

    Args:
        judge: The judge; nothing it says should be kept from before.
        known: The answers.

    Raises:
        JudgeError: It could not be reached or understood, or abstained.
    """
    ask = partial(_ask, judge)
    _, alone = ask(known[0])
    with ThreadPoolExecutor(len(known), thread_name_prefix="judge-check") as pool:
        answers = list(pool.map(ask, known))
    wrong = tuple(each for each, (right, _) in zip(known, answers, strict=True) if right != each.is_right)
    return JudgeReport(len(known), wrong, alone, tuple(seconds for _, seconds in answers))


def _ask(judge: Judge, known: KnownAnswer) -> tuple[bool, float]:
    began = time.perf_counter()
    verdict = judge(known.given, known.sample)
    if verdict is None:
        raise JudgeError(f"the judge abstained on {known.given!r} for {known.right!r}")
    return verdict.score > 0.5, time.perf_counter() - began
