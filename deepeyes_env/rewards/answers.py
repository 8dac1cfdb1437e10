r"""Answer rules: where the answer of an episode stands, and whether the policy kept to the format.

They follow the original's reward functions (DeepEyes, ``verl/utils/reward_score/vl_agent.py``; DeepEyesV2,
``deepeyesv2.py``), with two differences: braces in ``\boxed{...}`` are balanced, and a text without any ``<answer>`` is
not an answer as a whole unless the environment's protocol took it for one (function calling, ordinary questions).
All of them take time linear in the response.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from deepeyes_env.core import Trajectory
from deepeyes_env.protocols.tags import ANSWER, THINK

_VISION = ("<|vision_start|><|image_pad|>", "<|image_pad|><|vision_end|>")
_BRACE = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What an answer rule found.

    Attributes:
        prediction: The answer, without the spaces around it; ``None`` if there is none.
        format_error: Whether the policy broke the format.
    """

    prediction: str | None
    format_error: bool = False


AnswerRule: TypeAlias = Callable[[Trajectory], Extraction]
"""Finds the answer in a trajectory; see ``Extraction``."""


def last_answer(trajectory: Trajectory) -> Extraction:
    """Take the last ``<answer>``, wherever it stands and even if it is not closed.

    A format error: unequal numbers of opening and closing marks of ``think`` or images, or, after the last
    ``</think>``, of ``answer``. No answer is none.
    """
    response = trajectory.response
    error = _unbalanced(response, THINK, _VISION) or _unbalanced(_after_thinking(response), ANSWER)
    _, mark, rest = response.rpartition(ANSWER.opening)
    prediction = rest.partition(ANSWER.closing)[0] if mark else trajectory.answer
    return _extraction(prediction, error)


def answer_after_thinking(trajectory: Trajectory) -> Extraction:
    """Take the first closed ``<answer>`` after the last ``</think>``.

    A format error: as for ``last_answer``, and no such answer.
    """
    response = trajectory.response
    tail = _after_thinking(response)
    error = _unbalanced(response, THINK, _VISION) or _unbalanced(tail, ANSWER)
    start = tail.find(ANSWER.opening)
    end = tail.find(ANSWER.closing, start)
    prediction = tail[start + len(ANSWER.opening) : end] if 0 <= start < end else None
    if ANSWER.opening not in response:
        prediction = trajectory.answer
    extraction = _extraction(prediction, error)
    return extraction if extraction.prediction else Extraction(None, format_error=True)


def thought_and_answer(trajectory: Trajectory) -> Extraction:
    """Take the answer as ``answer_after_thinking`` does, and demand a thought before it (DeepEyesV2).

    The opening ``<think>`` at the very beginning may be missing: chat templates write it.
    """
    response = trajectory.response
    opened = response.count(THINK.opening) + (not response.startswith(THINK.opening))
    extraction = answer_after_thinking(trajectory)
    unbalanced = opened != response.count(THINK.closing) or _unbalanced(_after_thinking(response), ANSWER)
    return Extraction(extraction.prediction, unbalanced or extraction.prediction is None)


def boxed_answer(trajectory: Trajectory) -> Extraction:
    r"""Take the last ``\boxed{...}`` after the last ``</think>``, with balanced braces.

    A format error: unequal numbers of ``<think>`` and ``</think>``, and no box, an empty one or several.
    """
    response = trajectory.response
    boxes = boxed(_after_thinking(response))
    extraction = _extraction(boxes[-1] if boxes else None, _unbalanced(response, THINK) or len(boxes) != 1)
    return extraction if extraction.prediction else Extraction(None, format_error=True)


def boxed(text: str) -> list[str]:
    r"""Return the contents of all closed ``\boxed{...}`` that are in no other one, in order."""
    if "\\boxed" not in text:
        return []
    open_braces: list[int] = []  # where the content of an open box begins; -1 for a brace that is no box
    found: list[tuple[int, int]] = []
    for match in _BRACE.finditer(text):
        token = match[0]
        if token == "}":
            if open_braces and (start := open_braces.pop()) >= 0:
                while found and found[-1][0] > start:
                    found.pop()
                found.append((start, match.start()))
        elif token.startswith("\\boxed"):
            open_braces.append(match.end())
        elif token == "{":
            open_braces.append(-1)
    return [text[start:end] for start, end in found]


def _after_thinking(response: str) -> str:
    return response.rpartition(THINK.closing)[2]


def _unbalanced(text: str, *pairs: tuple[str, str]) -> bool:
    return any(text.count(opening) != text.count(closing) for opening, closing in pairs)


def _extraction(prediction: str | None, error: bool) -> Extraction:
    return Extraction((prediction or "").strip() or None, error)
