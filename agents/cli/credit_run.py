"""What calls were worth, played and reported: for ``deepeyes eval --credit`` and ``deepeyes credit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepeyes_env.terminal import say


def credit_run(folder: Path, player: Any, scoring: Any, **options: Any) -> Any:
    """Play on from the calls of an evaluation, telling first what it costs; returns the report with what came of it."""
    from deepeyes_env.agents.counterfactuals import play_credit
    from deepeyes_env.agents.evaluation.report import write_report

    play_credit(folder, player, scoring, tell_cost=lambda cost: say(f"credit: {cost}", err=True), **options)
    return write_report(folder)
