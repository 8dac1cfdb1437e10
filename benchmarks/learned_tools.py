"""What several seeds learned of ``code_search``: a table of held-out accuracy and tool use by task, and their curves.

``python benchmarks/learned_tools.py RUN...`` reads the folders of training runs, prints a Markdown table with the mean
and the lowest and highest seed before and after, and draws ``tool_use.png`` beside the runs. ``make train-v2`` ends
with it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from deepeyes_env.data.visual_search.code_questions import KINDS, LOOK
from deepeyes_env.trainers.grpo.ablate import cell, evaluations
from deepeyes_env.trainers.grpo.run import METRICS, TOOL_USE
from deepeyes_env.trainers.tracking.names import ACCURACY, HELD_OUT, TASK, USES
from deepeyes_env.trainers.tracking.tool_use_curves import plot_tool_use

GROUPS = {"needs code": "needs/code/"} | {f"`{kind}`": f"{TASK}{kind}/" for kind in (*KINDS, LOOK)}


def table(runs: Sequence[Path]) -> str:
    """Return accuracy before and after, and what is used after, by group of questions."""
    before, after = ([evaluations(run / METRICS)[place] for run in runs] for place in (0, -1))
    lines = [f"| questions | accuracy before | after | {' | '.join(USES)} |", "|---" * (3 + len(USES)) + "|"]
    for group, start in GROUPS.items():
        name = f"{HELD_OUT}{start}"
        used = (f"{fmean(row.get(f'{name}{use}', 0) for row in after):.2f}" for use in USES)
        right = (cell([row.get(f"{name}{ACCURACY}") for row in rows]) for rows in (before, after))
        lines.append(f"| {group} | {' | '.join((*right, *used))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    folders = [Path(name) for name in sys.argv[1:]]
    plot_tool_use([folder / METRICS for folder in folders], folders[0].parent / TOOL_USE)
    print(table(folders))
