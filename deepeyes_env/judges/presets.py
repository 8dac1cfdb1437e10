"""make_judge: judges by name, for command lines and configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import missing_extra
from deepeyes_env.judges.base import ChainJudge, Judge
from deepeyes_env.judges.llm import LLMJudge
from deepeyes_env.judges.llm_prompts import JudgePrompt
from deepeyes_env.judges.maths import MathJudge, math_verify_installed
from deepeyes_env.judges.rules import RuleJudge

JudgeName: TypeAlias = Literal["rules", "math", "llm", "chain"]
"""Names that ``make_judge`` knows."""


def make_judge(
    name: str,
    *,
    model: str | None = None,
    base_url: str | None = None,
    prompt: str | JudgePrompt = "open",
    cache: str | Path | None = None,
) -> Judge:
    """Return a judge by name; all of them always decide.

    ``rules``: ``RuleJudge``. ``math``: ``MathJudge``, then rules for what is no mathematics. ``llm``:
    ``LLMJudge``. ``chain``: rules where they are certain, then mathematics, then the model for the rest.

    Args:
        name: One of ``JudgeName``.
        model: Name of the judging model; for ``llm`` and ``chain`` only.
        base_url: URL of its server, up to and including ``/v1``.
        prompt: See ``LLMJudge``.
        cache: See ``LLMJudge``.

    Raises:
        ValueError: No judge has that name, a model is missing, or one is given to a judge that asks none.
        MissingExtraError: ``math`` or ``chain`` without math-verify, ``llm`` or ``chain`` without
            the openai package.
    """
    known = get_args(JudgeName)
    if name not in known:
        raise UsageError(f"unknown judge {name!r}; known judges: {', '.join(known)}")
    if name in ("math", "chain") and not math_verify_installed():
        raise missing_extra("math-verify", "math")
    if name in ("rules", "math"):
        if model or base_url:
            raise UsageError(f"make_judge({name!r}, model={model!r}, base_url={base_url!r}): asks no model; leave both")
        return RuleJudge() if name == "rules" else ChainJudge(RuleJudge(abstain=True), MathJudge(), RuleJudge())
    if not (model and base_url):
        raise UsageError(
            f"make_judge({name!r}, model={model!r}, base_url={base_url!r}): asks a model; give its name and its URL"
        )
    llm = LLMJudge(model, base_url, prompt=prompt, cache=cache)
    return llm if name == "llm" else ChainJudge(RuleJudge(abstain=True), MathJudge(), llm)
