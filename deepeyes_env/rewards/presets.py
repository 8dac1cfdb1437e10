r"""The papers' reward formulas by name.

=========================  ===========================================================================================
``deepeyes``               0.8 acc + 0.2 format + 1.2 tool; format is -1 or 0, tool needs a right answer.
                           ``geoguessr``: the answer counts only after the last ``</think>``.
                           ``thinklite_eureka``, ``xince``: 1.2 acc + 0.4 format, the answer in ``\boxed{}``.
``deepeyes_v1``            0.8 acc + 0.2 format + 0.4 tool, whatever the answer: the original's first version.
``paper``                  acc + format + tool if acc > 0 (DeepEyes, arXiv 2505.14362), all of weight 1.
``no_tool``                ``deepeyes`` without the tool term (its weight is 0): ablation.
``causal_tool``            ``deepeyes`` with what the calls changed of the chance of a right answer in place of the tool
                           term: somebody has to play that first (``Evidence.call_effects``).
``unconditional_tool``     ``deepeyes`` with the tool term whatever the answer: ablation.
``deepeyes_call_penalty``  ``deepeyes`` with a per-call penalty of 0.1: ablation.
``no_tool_call_penalty``   ``no_tool`` with a per-call penalty of 0.1: a zoom must pay by itself. For a trained policy.
``deepeyes_v2``            0.8 acc + 0.2 format; format is 1 or 0 and demands a thought and an answer (DeepEyesV2,
                           arXiv 2511.05271). ``search``: acc counts 0.9 once a call was written. An answer of 300
                           characters or more scores 0, but for ``reason``; other sources count as ``perception``.
=========================  ===========================================================================================

All but ``deepeyes_v2`` read the answer by data source, as ``deepeyes`` does. Every preset has the same terms on every
route, with weight 0 where a route has no such reward, so that tables line up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from deepeyes_env.errors import UsageTypeError
from deepeyes_env.judges import Judge, make_judge
from deepeyes_env.judges.maths import math_verify_installed
from deepeyes_env.registry import Registry
from deepeyes_env.rewards import terms
from deepeyes_env.rewards.answers import (
    boxed_answer,
    given_answer,
    required_answer,
    thought_and_answer,
    thought_calls_and_answer,
)
from deepeyes_env.rewards.evidence import Evidence
from deepeyes_env.rewards.rubric import BaseRubric, RoutedRubric, Rubric, Term

RubricLike: TypeAlias = str | BaseRubric | Callable[[Evidence], float]
"""A preset's name, a rubric, or a function that is the only term of one."""

V2_MAX_ANSWER_LENGTH = 300
"""DeepEyesV2 scores 0 for an answer of so many characters or more."""

READS_EFFECTS = frozenset({"causal_tool"})
"""Presets that read what calls were worth, which somebody has to play first."""

RUBRICS: Registry[BaseRubric] = Registry("rubric", of=BaseRubric)
"""Every rubric that has a name."""

register_rubric = RUBRICS.register
"""Make a rubric known by a name, ``register_rubric("mine", Rubric([...]))``; see ``Registry.register``."""


def get_rubric(rubric: RubricLike, judge: Judge | None = None) -> BaseRubric:
    r"""Return a rubric by name, or the given one, with another judge where one is given.

    Rubrics are immutable and shared: the same name gives the same object. Presets judge by ``RuleJudge``, and
    answers in ``\boxed{}`` by the judge ``math`` where math-verify is installed.

    Args:
        rubric: Name of a preset or of a registered rubric; a rubric; or a function of ``Evidence``, which becomes the
            only term of one and gives it its name (a lambda: ``reward``).
        judge: Judges all answers instead of the rubric's own judges.

    Raises:
        UnknownNameError: No rubric has that name.
        UsageTypeError: ``rubric`` is neither a name nor a rubric.
    """
    if isinstance(rubric, str):
        rubric = RUBRICS.get(rubric)
    if not isinstance(rubric, BaseRubric | type) and callable(rubric):
        name = getattr(rubric, "__name__", "")
        rubric = Rubric([Term(name if name.isidentifier() else "reward", rubric)])
    if not isinstance(rubric, BaseRubric):
        kind = type(rubric).__name__
        raise UsageTypeError(f"a rubric is the name of a preset, a Rubric or a function of Evidence, not {kind}")
    return rubric if judge is None else rubric.with_judge(judge)


def _presets() -> dict[str, BaseRubric]:
    return {
        "deepeyes": _deepeyes(terms.tool_if_right),
        "deepeyes_v1": _deepeyes(terms.tool, tool_weight=0.4),
        "paper": _by_source(_paper(), _paper()),
        "no_tool": _deepeyes(terms.tool, tool_weight=0.0),
        "causal_tool": _deepeyes(terms.causal_tool),
        "unconditional_tool": _deepeyes(terms.tool),
        "deepeyes_call_penalty": _deepeyes(terms.tool_if_right, Term("calls", terms.calls, -0.1)),
        "no_tool_call_penalty": _deepeyes(terms.tool, Term("calls", terms.calls, -0.1), tool_weight=0.0),
        "deepeyes_v2": _deepeyes_v2(),
    }


def _deepeyes(tool: Callable[[Evidence], float], *more: Term, tool_weight: float = 1.2) -> BaseRubric:
    visual = [*_weighted(0.8, 0.2, tool_weight, tool), *more]
    return _by_source(visual, [*_weighted(1.2, 0.4, 0.0, tool), *more])


def _deepeyes_v2() -> RoutedRubric:
    kept = Term("format", terms.format_kept, 0.2)
    right, right_after_call = Term("acc", terms.accuracy, 0.8), Term("acc", terms.accuracy_after_call, 0.8)
    limit = V2_MAX_ANSWER_LENGTH
    routes: dict[str, BaseRubric] = {
        "reason": Rubric([right, kept], thought_and_answer, max_answer_length=None),
        "search": Rubric([right_after_call, kept], thought_calls_and_answer, max_answer_length=limit),
    }
    return RoutedRubric(routes, default=Rubric([right, kept], thought_and_answer, max_answer_length=limit))


def _paper() -> list[Term]:
    return _weighted(1.0, 1.0, 1.0, terms.tool_if_any_right)


def _weighted(acc: float, format: float, tool_weight: float, tool: Callable[[Evidence], float]) -> list[Term]:
    return [
        Term("acc", terms.accuracy, acc),
        Term("format", terms.format_broken, format),
        Term("tool", tool, tool_weight),
    ]


def _by_source(visual: list[Term], math: list[Term]) -> RoutedRubric:
    boxed = Rubric(math, boxed_answer, _math_judge())
    geoguessr = Rubric(visual, required_answer)
    routes: dict[str, BaseRubric] = {"geoguessr": geoguessr, "thinklite_eureka": boxed, "xince": boxed}
    return RoutedRubric(routes, default=Rubric(visual, given_answer))


@cache
def _math_judge() -> Judge:
    return make_judge("math" if math_verify_installed() else "rules")


for _name, _rubric in _presets().items():
    register_rubric(_name, _rubric)
RUBRICS.protect()
