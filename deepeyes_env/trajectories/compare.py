"""The comparison page: the same questions as several policies answered them, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.labels import ACCURACY, BEST_IOU, REWARD, TOOL_CALLS, ZOOM_RATE, capitalised
from deepeyes_env.option_letters import letter_options
from deepeyes_env.trajectories import side_by_side
from deepeyes_env.trajectories.markup import embedded, episode, open_page, text
from deepeyes_env.trajectories.side_by_side import Outcome
from deepeyes_env.trajectories.summary import Summary, summarise

_STYLE = """
h2 { font-size: 1rem; margin: 0 0 .6rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
  margin: 0 0 1rem; }
.run.right { border-color: var(--right); } .run.wrong { border-color: var(--wrong); }
.run > figure img { width: 336px; max-width: 100%; max-height: none; }
.turn figure img { width: 168px; max-width: 100%; }
figure img { image-rendering: pixelated; }
.options { color: var(--soft); margin: 0 0 .6rem; white-space: pre-wrap; }
"""


def write_comparison(runs: Mapping[str, Iterable[Trajectory]], out: str | Path) -> Path:
    """Write a page that needs no other file: a summary, then the questions, those that came out differently first.

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
    names = list(by_sample)
    questions = [_shown(by_sample, sample) for sample in next(iter(by_sample.values()))]
    kinds = [_outcome(shown, len(runs)) for shown in questions]
    order = sorted(range(len(questions)), key=lambda number: side_by_side.place(kinds[number]))
    title, style = " and ".join(names), side_by_side.STYLE + _STYLE
    heading = f"The same questions: {title}"
    with open_page(path, title, heading=heading, style=style, script=side_by_side.SCRIPT) as file:
        file.write(_summary(by_sample))
        file.write(side_by_side.legend(edges=True))
        file.write(side_by_side.buttons(kinds, names))
        for number in order:
            file.write(_question(questions[number], kinds[number]))
    return path


def _by_sample(episodes: Iterable[Trajectory]) -> dict[tuple[str, int], Trajectory]:
    """Return episodes by the id of their sample, and how many had the same id before."""
    seen: Counter[str] = Counter()
    by_sample = {}
    for each in episodes:
        by_sample[each.sample.id, seen[each.sample.id]] = each
        seen[each.sample.id] += 1
    return by_sample


def _shown(runs: Mapping[str, Mapping[tuple[str, int], Trajectory]], sample: tuple[str, int]) -> dict[str, Trajectory]:
    return {name: episodes[sample] for name, episodes in runs.items() if sample in episodes}


def _outcome(shown: Mapping[str, Trajectory], runs: int) -> Outcome:
    if len(shown) < runs:
        return "unjudged"
    return side_by_side.outcome([None if each.right is None else float(each.right) for each in shown.values()])


def _summary(runs: Mapping[str, Mapping[tuple[str, int], Trajectory]]) -> str:
    found = [summarise(episodes.values()) for episodes in runs.values()]
    rows = [("Questions", [str(each.episodes) for each in found]), *_figures(found)]
    return side_by_side.table(["", *runs], [[name, *cells] for name, cells in rows])


def _figures(found: Sequence[Summary]) -> list[tuple[str, list[str]]]:
    return [
        (capitalised(ACCURACY), ["-" if each.accuracy is None else f"{each.accuracy:.1%}" for each in found]),
        (capitalised(REWARD), [f"{each.reward:.2f}" for each in found]),
        (capitalised(ZOOM_RATE), [f"{each.zooms:.1%}" for each in found]),
        (capitalised(BEST_IOU), ["-" if each.iou is None else f"{each.iou:.2f}" for each in found]),
        (capitalised(TOOL_CALLS), [f"{each.tool_calls:.2f}" for each in found]),
    ]


def _question(shown: Mapping[str, Trajectory], kind: Outcome) -> str:
    sample = next(iter(shown.values())).sample
    alike = len({each.sample.options for each in shown.values()}) == 1  # else a letter is another option in each run
    head = f"<h2>{text(sample.question)} <small>(right: {text(sample.answer)})</small></h2>"
    head += _options(sample) if alike else ""
    runs = "".join(_run(name, each, "" if alike else _options(each.sample)) for name, each in shown.items())
    return f'<section data-kind="{kind}">{head}<div class="runs">{runs}</div></section>\n'


def _options(sample: Sample) -> str:
    lettered = "  ".join(f"({letter}) {option}" for letter, option in letter_options(sample.options))
    return f'<p class="options">{text(lettered)}</p>' if lettered else ""


def _run(name: str, trajectory: Trajectory, options: str) -> str:
    kind = {True: "right", False: "wrong", None: ""}[trajectory.right]
    facts = [kind, f"reward {trajectory.reward:+.2f}"]
    facts += [f"{term} {value.weighted:+.2f}" for term, value in trajectory.reward_terms.items()]
    facts += [f"IoU {trajectory.best_iou:.2f}"] if trajectory.best_iou is not None else []
    return f'<div class="run {kind}">{options}{episode(name, facts, trajectory, embedded)}</div>'
