"""Judges by name: one name is one judge for benchmarks, command line and users.

==========  ==========================================================================================================
``rules``   options, numbers and normalised texts by rules: ``RuleJudge``
``yes_no``  questions answered by yes or no (``YesNoJudge``), then rules
``box``     the overlap of boxes (``BoxJudge``, of which ``BoxJudge.of`` makes the one for each trajectory)
``math``    numbers at their precision, rules where they are certain, mathematics, then rules for the rest
``llm``     a language model behind an endpoint: ``LLMJudge``
``chain``   what ``math`` is certain of, then the language model for the rest
==========  ==========================================================================================================

Users add their own with ``register_judge``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import missing_extra
from deepeyes_env.judges.base import ChainJudge, Judge
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.judges.llm import LLMJudge
from deepeyes_env.judges.llm_prompts import JudgePrompt
from deepeyes_env.judges.maths import MathJudge, math_verify_installed
from deepeyes_env.judges.rounding import RoundingJudge
from deepeyes_env.judges.rules import RuleJudge
from deepeyes_env.judges.yes_no import YesNoJudge
from deepeyes_env.registry import Registry

JudgeFactory: TypeAlias = Callable[..., Judge]
"""What makes a judge: a class, or a function; its keyword arguments are the settings that the judge takes."""

JUDGES: Registry[JudgeFactory] = Registry("judge")
"""What makes each judge that has a name."""

register_judge = JUDGES.register
"""Make what makes a judge known by a name, also as a decorator: ``@register_judge("mine")``."""

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def make_judge(name: str, **settings: Any) -> Judge:
    """Make a judge by name. Those of the package always decide, ``box`` where there are boxes to compare.

    Args:
        name: One of ``JUDGES``.
        **settings: What its factory takes: ``model``, ``base_url``, ``prompt``, ``cache`` and the other arguments of
            ``LLMJudge`` for ``llm`` and ``chain``, those of ``BoxJudge`` for ``box``, none for the others.

    Raises:
        UnknownNameError: No judge has that name; the message has the nearest one.
        UsageError: The judge takes no such setting, or one that it needs is missing.
        MissingExtraError: ``math`` or ``chain`` without math-verify, ``llm`` or ``chain`` without the openai package.
    """
    factory = JUDGES.get(name)
    taken = judge_settings(name)
    if refused := [each for each in settings if each not in taken and not _takes_any(factory)]:
        raise UsageError(
            f"make_judge({name!r}): takes no {', '.join(refused)}; it takes {', '.join(taken) or 'no settings'}"
        )
    needed = [each for each, parameter in taken.items() if parameter.default is parameter.empty]
    if missing := [each for each in needed if settings.get(each) is None]:
        raise UsageError(f"make_judge({name!r}): needs {', '.join(needed)}; give {', '.join(missing)}")
    return factory(**settings)


def judge_settings(name: str) -> Mapping[str, inspect.Parameter]:
    """Return the settings that a judge takes, by name; those without a default it needs.

    Raises:
        UnknownNameError: No judge has that name.
    """
    parameters = inspect.signature(JUDGES.get(name)).parameters
    return {each: parameter for each, parameter in parameters.items() if parameter.kind not in _VARIABLE}


def _takes_any(factory: JudgeFactory) -> bool:
    parameters = inspect.signature(factory).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _rules() -> Judge:
    return RuleJudge()


def _yes_no() -> Judge:
    return ChainJudge(YesNoJudge(), RuleJudge())


def _math() -> Judge:
    return ChainJudge(*_certain(), RuleJudge())


def _chain(
    model: str, base_url: str, prompt: str | JudgePrompt = "open", cache: str | Path | None = None, **settings: Any
) -> Judge:
    return ChainJudge(*_certain(), LLMJudge(model, base_url, prompt=prompt, cache=cache, **settings))


def _certain() -> tuple[Judge, ...]:
    """Return the judges that abstain where they are not certain.

    Raises:
        MissingExtraError: math-verify is not installed. Without it other answers would be right.
    """
    if not math_verify_installed():
        raise missing_extra("math-verify", "math")
    return RoundingJudge(), RuleJudge(abstain=True), MathJudge()


for _name, _factory in {
    "rules": _rules,
    "yes_no": _yes_no,
    "box": BoxJudge,
    "math": _math,
    "llm": LLMJudge,
    "chain": _chain,
}.items():
    register_judge(_name, _factory)
JUDGES.protect()
