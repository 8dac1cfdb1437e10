"""Who judges in ``deepeyes eval``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from deepeyes_env.agents.cli.eval_options import STANDARD, EvalOptions
from deepeyes_env.errors import UsageError
from deepeyes_env.registry import unknown_name


def make_scoring(benchmark: Any, options: EvalOptions, folder: Path) -> Any:
    """Return the scoring that the options ask for.

    Args:
        benchmark: What was asked.
        options: The command's options.
        folder: Folder of the evaluation; a judging model's verdicts are kept beside it.

    Raises:
        UsageError: The judge cannot judge this benchmark, or a setting of it is missing.
    """
    from deepeyes_env.agents.evaluation.scoring import Scoring
    from deepeyes_env.judges.presets import JUDGES, judge_settings, make_judge

    judge, model, url, rubric = options.judge, options.judge_model, options.judge_url, options.rubric
    if judge == STANDARD:
        if model or url:
            raise UsageError("--judge-model and --judge-url are for judges that ask a model, such as --judge llm")
        return Scoring(make_judge(benchmark.judge), f"{STANDARD} ({benchmark.judge})", rubric)
    if judge not in JUDGES:
        raise unknown_name("judge", judge, (STANDARD, *JUDGES))
    if JUDGES.is_builtin(judge) and (judge == "box") != (benchmark.metric == "box"):
        cannot = "compares nothing but boxes" if judge == "box" else "cannot compare boxes"
        raise UsageError(f"--judge {judge}: {cannot}; {benchmark.title} needs --judge {STANDARD}")
    taken = judge_settings(judge)
    told = {"model": ("--judge-model", model), "base_url": ("--judge-url", url)}
    missing = [told[each][0] for each in told if _is_needed(taken.get(each)) and not told[each][1]]
    if missing:
        raise UsageError(f"--judge {judge}: asks a model; give {' and '.join(missing)}")
    settings: dict[str, Any] = {name: value for name, (_, value) in told.items() if value}
    asks = "model" in taken
    if asks and "prompt" in taken:
        settings["prompt"] = "math" if benchmark.metric == "math" else "open"
    if asks and "cache" in taken:
        settings["cache"] = folder.parent / "judgements.sqlite3"
    name = f"{judge} ({model})" if model else judge
    return Scoring(make_judge(judge, **settings), name, rubric, workers=32 if asks else 8)


def _is_needed(parameter: inspect.Parameter | None) -> bool:
    return parameter is not None and parameter.default is parameter.empty
