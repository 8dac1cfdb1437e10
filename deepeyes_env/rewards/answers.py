r"""Answer rules: what of an episode's answer counts, and whether the policy kept to the format.

What the environment took as the answer, once, outside the thought, is what is judged (``Trajectory.answer``). A rule
may want more of it, or only a part. The formats follow the original's reward functions (DeepEyes,
``verl/utils/reward_score/vl_agent.py``; DeepEyesV2, ``deepeyesv2.py``), which look for the answer in the response anew,
some of them in thoughts too, and cut ``\boxed{...}`` at the first brace. All rules take time linear in the response.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from deepeyes_env.core import Trajectory
from deepeyes_env.protocols.tags import ANSWER, CODE, THINK, TOOL_CALL, after_thought

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


def given_answer(trajectory: Trajectory) -> Extraction:
    """Take what the environment took as the answer.

    A format error: unequal numbers of opening and closing marks of ``think`` or images, or, after the last
    ``</think>``, of ``answer``. No answer is none.
    """
    response = trajectory.response
    error = _unbalanced(response, THINK) or _unbalanced(response, _VISION)
    error = error or _unbalanced(after_thought(response), ANSWER)
    return _extraction(trajectory.answer, error)


def required_answer(trajectory: Trajectory) -> Extraction:
    """Take the answer as ``given_answer`` does, and demand one whose ``<answer>`` is closed.

    A format error: as for ``given_answer``, and no such answer.
    """
    found = given_answer(trajectory)
    said = after_thought(trajectory.response)
    closed = ANSWER.closing in said.partition(ANSWER.opening)[2]
    missing = found.prediction is None or (ANSWER.opening in said and not closed)
    return Extraction(None, format_error=True) if missing else found


def thought_and_answer(trajectory: Trajectory) -> Extraction:
    """Take the answer as ``required_answer`` does, and demand a thought before it (DeepEyesV2).

    A format error: unequal numbers of opening and closing marks of ``think`` and ``code``, or, after the last
    ``</think>``, of ``answer``; and no such answer. The opening ``<think>`` at the very beginning may be missing: chat
    templates write it. Marks are counted in the model's own messages; the original also counts what the sandbox prints.
    """
    response = trajectory.response
    opened = response.count(THINK.opening) + (not response.startswith(THINK.opening))
    extraction = required_answer(trajectory)
    unbalanced = opened != response.count(THINK.closing) or _unbalanced(response, CODE)
    unbalanced = unbalanced or _unbalanced(after_thought(response), ANSWER)
    return Extraction(extraction.prediction, unbalanced or extraction.prediction is None)


def thought_calls_and_answer(trajectory: Trajectory) -> Extraction:
    """Take the answer as ``thought_and_answer`` does, and demand that every ``<tool_call>`` is closed (DeepEyesV2)."""
    found = thought_and_answer(trajectory)
    return Extraction(found.prediction, found.format_error or _unbalanced(trajectory.response, TOOL_CALL))


def boxed_answer(trajectory: Trajectory) -> Extraction:
    r"""Take the last ``\boxed{...}`` in what the environment took as the answer, with balanced braces.

    A format error: unequal numbers of ``<think>`` and ``</think>``, and no box, an empty one or several.
    """
    boxes = boxed(trajectory.answer or "")
    error = _unbalanced(trajectory.response, THINK) or len(boxes) != 1
    extraction = _extraction(boxes[-1] if boxes else None, error)
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


def _unbalanced(text: str, marks: tuple[str, str]) -> bool:
    opening, closing = marks
    return text.count(opening) != text.count(closing)


def _extraction(prediction: str | None, error: bool) -> Extraction:
    return Extraction((prediction or "").strip() or None, error)
