"""The page of a comparison: every question once, what each policy did beside it, and buttons for where they differ."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

from deepeyes_env.agents.evaluation.rows import Row
from deepeyes_env.agents.evaluation.run import Run
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import Trajectory, is_right
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.option_letters import option_index
from deepeyes_env.trajectories import read_trajectories, side_by_side
from deepeyes_env.trajectories.markup import episode, open_page, text
from deepeyes_env.trajectories.side_by_side import Outcome

Matched = Sequence[tuple[Sequence[Row], Sequence[Row]]]
"""Rows of the two runs on the same questions, a pair for each condition."""

_STYLE = """
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .5rem 1rem;
  margin: 0 0 .5rem; }
summary { cursor: pointer; } .row { padding: 0 1rem .4rem; }
summary, .row { display: grid; grid-template-columns: 1fr 11rem 11rem; gap: 1rem; }
summary span, .row span { overflow-wrap: anywhere; } .right { color: var(--right); } .wrong { color: var(--wrong); }
.runs { grid-template-columns: repeat(2, minmax(0, 1fr)); margin: .8rem 0; }
@media (max-width: 640px) {
  summary, .row { grid-template-columns: 1fr 1fr; }
  summary span:first-child, .row span:first-child { grid-column: 1 / -1; }
  .runs { grid-template-columns: minmax(0, 1fr); }
}
"""


def write(
    runs: tuple[Run, Run],
    names: tuple[str, str],
    matched: Matched,
    out: Path,
    summary: Sequence[Sequence[str]],
    tests: Iterable[str],
) -> Path:
    """Write the page; pictures stay in the folders of the runs, which it links to.

    Args:
        runs: The two runs.
        names: What they are called.
        matched: Their rows; the repeats of a question stand below one another.
        out: The HTML file; replaced only once it is complete.
        summary: For each condition its name and the accuracy of each run.
        tests: What a paired test found, a sentence each.
    """
    columns = [_Column(run, names[i], [row for pair in matched for row in pair[i]], out) for i, run in enumerate(runs)]
    questions = list(dict.fromkeys(row.question for pair in matched for row in pair[0]))
    kinds = {question: _outcome([column.scores[question] for column in columns]) for question in questions}
    questions.sort(key=lambda question: side_by_side.place(kinds[question]))
    style = side_by_side.STYLE + _STYLE
    with open_page(out, f"{names[0]} and {names[1]}", style=style, script=side_by_side.SCRIPT) as file:
        file.write(side_by_side.table(["Accuracy", *names], summary))
        file.write("".join(f"<p>{text(test)}</p>\n" for test in tests))
        file.write(side_by_side.legend(edges=False))
        file.write(side_by_side.buttons(list(kinds.values()), names))
        heads = "".join(f"<span>{text(name)}</span>" for name in names)
        file.write(f'<div class="row name"><span>question</span>{heads}</div>\n')
        for question in questions:
            file.write(_question(question, kinds[question], columns))
    return out


class _Column:
    """One run's half of the page: its scores, and its episodes as HTML, by question."""

    def __init__(self, run: Run, name: str, rows: Iterable[Row], out: Path) -> None:
        self.name = name
        self.scores: defaultdict[str, list[float]] = defaultdict(list)
        self.answers: dict[str, str] = {}
        self.heads: dict[str, str] = {}
        self.episodes: defaultdict[str, list[str]] = defaultdict(list)
        by_number = {row.episode: row for row in rows}
        link = _Link(run.folder, out.parent)
        for trajectory in read_trajectories(run.folder):  # one at a time: only the HTML is held
            row = by_number.get(number_of(trajectory))
            if row is not None:
                self._add(row, trajectory, link)

    def _add(self, row: Row, trajectory: Trajectory, link: _Link) -> None:
        sample = trajectory.sample
        options = f" ({' / '.join(sample.options)})" if sample.options else ""
        self.heads.setdefault(row.question, f"{sample.id}: {sample.question}{options} → {sample.answer}")
        self.scores[row.question].append(row.score or 0.0)
        said = f"({row.reason})" if row.answer is None else _named(row.answer, sample.options)
        self.answers.setdefault(row.question, said)
        self.episodes[row.question].append(episode(self.name, _facts(row), trajectory, link))


def _named(answer: str, options: Sequence[str]) -> str:
    """Return an answer, with the option that it names by a letter: other tries may see the options in another order."""
    index = option_index(answer.strip().rstrip("."))
    return answer if index is None or index >= len(options) else f"{answer.strip()} ({options[index]})"


class _Link:
    """Links to the images of a run from the folder of the page."""

    def __init__(self, run: Path, page: Path) -> None:
        self._run = run
        self._prefix = Path(os.path.relpath(run.resolve(), page.resolve()))

    def __call__(self, image: ImageRef) -> str:
        return quote((self._prefix / Path(image.name).relative_to(self._run)).as_posix())


def _outcome(scores: Sequence[Sequence[float]]) -> Outcome:
    return side_by_side.outcome([sum(map(is_right, tries)) / len(tries) for tries in scores])


def _question(question: str, kind: Outcome, columns: Sequence[_Column]) -> str:
    cells = "".join(_verdict(column.answers[question], column.scores[question]) for column in columns)
    runs = "".join(f'<div class="run">{"".join(column.episodes[question])}</div>' for column in columns)
    summary = f"<summary><span>{text(columns[0].heads[question])}</span>{cells}</summary>"
    return f'<details data-kind="{kind}">{summary}<div class="runs">{runs}</div></details>\n'


def _verdict(answer: str, scores: Sequence[float]) -> str:
    right = sum(is_right(score) for score in scores)
    kind = "right" if 2 * right > len(scores) else "wrong"
    count = f" {right}/{len(scores)}" if len(scores) > 1 else ""
    shown = answer if len(answer) <= 80 else f"{answer[:79]}…"
    return f'<span class="{kind}">{"✓" if kind == "right" else "✗"}{count} {text(shown)}</span>'


def _facts(row: Row) -> list[str]:
    tools = "with tools" if row.condition == "on" else "without tools"
    calls = f"{row.calls} call{'' if row.calls == 1 else 's'}"
    return [tools, row.reason, calls, f"IoU {row.iou:.2f}" if row.iou is not None else ""]
