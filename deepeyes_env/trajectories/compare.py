"""The comparison page: the same questions as several policies answered them, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepeyes_env.core import Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.trajectories.markup import embedded, episode, open_page, text

_STYLE = """
h2 { font-size: 1rem; margin: 0 0 .6rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
  margin: 0 0 1rem; }
.run.right { border-color: var(--right); } .run.wrong { border-color: var(--wrong); }
figure img { width: 168px; image-rendering: pixelated; } .turn figure img { width: 112px; }
.options { color: var(--soft); margin: 0 0 .6rem; }
"""


def write_comparison(runs: Mapping[str, Iterable[Trajectory]], out: str | Path) -> Path:
    """Write a page that needs no other file.

    Args:
        runs: Episodes by name of the policy. Those of equal sample id stand side by side, in the order of the first
            run; what another run lacks is left empty. The n-th of an id stands beside the n-th of another run.
        out: The HTML file; replaced only once it is complete.

    Returns:
        Its path.

    Raises:
        UsageError: There is no run.
    """
    if not runs:
        raise UsageError("write_comparison: there is no run to show")
    path = Path(out)
    by_sample = {name: _by_sample(episodes) for name, episodes in runs.items()}
    names = " and ".join(by_sample)
    with open_page(path, names, heading=f"The same questions: {names}", style=_STYLE) as file:
        for sample in next(iter(by_sample.values())):
            shown = {name: episodes[sample] for name, episodes in by_sample.items() if sample in episodes}
            file.write(_question(shown))
    return path


def _by_sample(episodes: Iterable[Trajectory]) -> dict[tuple[str, int], Trajectory]:
    """Return episodes by the id of their sample, and how many had the same id before."""
    seen: Counter[str] = Counter()
    by_sample = {}
    for each in episodes:
        by_sample[each.sample.id, seen[each.sample.id]] = each
        seen[each.sample.id] += 1
    return by_sample


def _question(shown: Mapping[str, Trajectory]) -> str:
    sample = next(iter(shown.values())).sample
    options = f'<p class="options">{text(" / ".join(sample.options))}</p>' if sample.options else ""
    head = f"<h2>{text(sample.question)} <small>({text(sample.answer)})</small></h2>{options}"
    return f'<section>{head}<div class="runs">{"".join(_run(*item) for item in shown.items())}</div></section>\n'


def _run(name: str, trajectory: Trajectory) -> str:
    right = trajectory.right
    kind = {True: " right", False: " wrong", None: ""}[None if right is None else bool(right)]
    facts = [f"reward {trajectory.reward:+.2f}"]
    facts += [f"{term} {value.weighted:+.2f}" for term, value in trajectory.reward_terms.items()]
    facts += [f"IoU {trajectory.best_iou:.2f}"] if trajectory.best_iou is not None else []
    return f'<div class="run{kind}">{episode(name, facts, trajectory, embedded)}</div>'
