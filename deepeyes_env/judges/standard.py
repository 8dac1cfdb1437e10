"""standard_judge: the judge that a benchmark asks for."""

from __future__ import annotations

from deepeyes_env.errors import UsageError
from deepeyes_env.judges.base import ChainJudge, Judge
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.judges.maths import MathJudge, math_verify_installed
from deepeyes_env.judges.rounding import RoundingJudge
from deepeyes_env.judges.rules import RuleJudge
from deepeyes_env.judges.yes_no import YesNoJudge


def standard_judge(name: str) -> Judge:
    """Return the judge of a ``Benchmark`` by ``Benchmark.judge``.

    ``rules``: ``RuleJudge``. ``yes_no``: ``YesNoJudge``, then rules. ``box``: a ``BoxJudge``, of which
    ``BoxJudge.of`` makes the one for each trajectory. ``math``: numbers at their precision, rules where they are
    certain, mathematics if the extra ``math`` is installed, then rules for the rest.

    Raises:
        ValueError: No benchmark asks for such a judge.
    """
    match name:
        case "rules":
            return RuleJudge()
        case "yes_no":
            return ChainJudge(YesNoJudge(), RuleJudge())
        case "box":
            return BoxJudge()
        case "math":
            maths = [MathJudge()] if math_verify_installed() else []
            return ChainJudge(RoundingJudge(), RuleJudge(abstain=True), *maths, RuleJudge())
    raise UsageError(f"unknown judge {name!r}; benchmarks ask for one of rules, yes_no, box, math")
