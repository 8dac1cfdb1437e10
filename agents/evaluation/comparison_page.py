"""The page of a comparison: every question once, what each policy did beside it, and buttons for where they differ."""

from __future__ import annotations

import html
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from deepeyes_env.agents.evaluation.rows import Row
from deepeyes_env.agents.evaluation.run import Run
from deepeyes_env.agents.run_folder import number_of
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Trajectory
from deepeyes_env.files import replacing
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import read_trajectories

Matched = Sequence[tuple[Sequence[Row], Sequence[Row]]]
"""Rows of the two runs on the same questions, a pair for each condition."""

_KINDS = {
    "second": "only {1} right",
    "first": "only {0} right",
    "both": "both right",
    "neither": "neither",
    "mixed": "mixed",
}
_STYLE = """
:root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; color: #1d2733; background: #f4f6f8; }
body { margin: 0 auto; max-width: 1180px; padding: 1.2rem; } h1 { font-size: 1.3rem; }
button { font: inherit; padding: .25rem .7rem; margin: 0 .3rem .8rem 0; border: 1px solid #c9d1da; border-radius: 8px;
  background: #fff; cursor: pointer; } button[aria-pressed=true] { background: #1d2733; color: #fff; }
details { background: #fff; border: 1px solid #dde3ea; border-radius: 10px; padding: .5rem 1rem; margin: 0 0 .5rem; }
summary { cursor: pointer; } .row { padding: 0 1rem .4rem; }
summary, .row { display: grid; grid-template-columns: 1fr 11rem 11rem; gap: 1rem; }
summary span, .row span { overflow-wrap: anywhere; } .right { color: #00734f; } .wrong { color: #b34700; }
.runs { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem; margin: .8rem 0; }
.run { border-left: 4px solid #dde3ea; padding-left: .8rem; } .name { font-weight: 600; } .facts { color: #5b6875; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.4 ui-monospace, monospace; margin: .5rem 0; }
figure { margin: 0 .4rem .4rem 0; position: relative; line-height: 0; display: inline-block; }
figure img { max-width: 320px; max-height: 240px; border-radius: 6px; } .crop img { max-width: 160px; }
figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.truth { stroke: #111; stroke-dasharray: 4 3; } .asked { stroke: #e6007e; }
"""
_SCRIPT = """
for (const button of document.querySelectorAll("button")) button.onclick = () => {
  for (const other of document.querySelectorAll("button")) other.ariaPressed = String(other === button);
  for (const each of document.querySelectorAll("details"))
    each.hidden = button.value !== "" && each.dataset.kind !== button.value;
};
"""


def write(runs: tuple[Run, Run], names: tuple[str, str], matched: Matched, out: Path) -> Path:
    """Write the page; pictures stay in the folders of the runs, which it links to.

    Args:
        runs: The two runs.
        names: What they are called.
        matched: Their rows; the repeats of a question stand below one another.
        out: The HTML file; replaced only once it is complete.
    """
    columns = [_Column(run, names[i], [row for pair in matched for row in pair[i]], out) for i, run in enumerate(runs)]
    questions = list(dict.fromkeys(row.question for pair in matched for row in pair[0]))
    kinds = {question: _kind(*(column.scores[question] for column in columns)) for question in questions}
    title = html.escape(f"{names[0]} and {names[1]}")
    with replacing(out) as beside, beside.open("w", encoding="utf-8", errors="replace") as file:
        file.write('<!doctype html>\n<html lang="en"><meta charset="utf-8">')
        file.write('<meta name="viewport" content="width=device-width, initial-scale=1">')
        file.write(f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>\n")
        file.write(f'<button value="" aria-pressed="true">all {len(questions)}</button>')
        for kind, words in _KINDS.items():
            count = sum(each == kind for each in kinds.values())
            label = html.escape(words.format(*names))
            file.write(f'<button value="{kind}" aria-pressed="false">{label}: {count}</button>' if count else "")
        heads = "".join(f"<span>{html.escape(name)}</span>" for name in names)
        file.write(f'<div class="row name"><span>question</span>{heads}</div>\n')
        for question in questions:
            file.write(_question(question, kinds[question], columns))
        file.write(f"<script>{_SCRIPT}</script></html>\n")
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
        self.answers.setdefault(row.question, row.answer if row.answer is not None else f"({row.reason})")
        self.episodes[row.question].append(_episode(self.name, row, trajectory, link))


class _Link:
    """Links to the images of a run from the folder of the page."""

    def __init__(self, run: Path, page: Path) -> None:
        self._run = run
        self._prefix = Path(os.path.relpath(run.resolve(), page.resolve()))

    def __call__(self, image: ImageRef) -> str:
        return html.escape(quote((self._prefix / Path(image.name).relative_to(self._run)).as_posix()))


def _kind(first: Sequence[float], second: Sequence[float]) -> str:
    shares = [sum(score > 0.5 for score in scores) / len(scores) for scores in (first, second)]
    if not {0.0, 1.0}.issuperset(shares):
        return "mixed"
    return {(1.0, 1.0): "both", (1.0, 0.0): "first", (0.0, 1.0): "second"}.get((shares[0], shares[1]), "neither")


def _question(question: str, kind: str, columns: Sequence[_Column]) -> str:
    head = html.escape(columns[0].heads[question].replace(IMAGE_PLACEHOLDER, " "))
    cells = "".join(_verdict(column.answers[question], column.scores[question]) for column in columns)
    runs = "".join(f'<div class="run">{"".join(column.episodes[question])}</div>' for column in columns)
    summary = f"<summary><span>{head}</span>{cells}</summary>"
    return f'<details data-kind="{kind}">{summary}<div class="runs">{runs}</div></details>\n'


def _verdict(answer: str, scores: Sequence[float]) -> str:
    right = sum(score > 0.5 for score in scores)
    kind = "right" if 2 * right > len(scores) else "wrong"
    count = f" {right}/{len(scores)}" if len(scores) > 1 else ""
    shown = answer if len(answer) <= 80 else f"{answer[:79]}…"
    return f'<span class="{kind}">{"✓" if kind == "right" else "✗"}{count} {html.escape(shown)}</span>'


def _episode(name: str, row: Row, trajectory: Trajectory, link: _Link) -> str:
    facts = [
        f"{'with' if row.condition == 'on' else 'without'} tools",
        row.reason,
        f"{row.calls} call{'' if row.calls == 1 else 's'}",
    ]
    facts += [f"IoU {row.iou:.2f}"] if row.iou is not None else []
    told = html.escape(", ".join(fact for fact in facts if fact))
    asked = trajectory.zoom_boxes
    boxes: Mapping[str, Sequence[tuple[float, ...]]] = {"truth": trajectory.sample.boxes, "asked": asked}
    rects = "".join(
        f'<rect class="{kind}" x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"/>'
        for kind, listed in boxes.items()
        for x1, y1, x2, y2 in listed
    )
    width, height = trajectory.native_size
    svg = f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{rects}</svg>'
    view = f'<figure><img loading="lazy" alt="" src="{link(trajectory.prompt.images[0])}">{svg}</figure>'
    turns = "".join(_turn(turn.action, turn.observation, link) for turn in trajectory.turns)
    return f'<div><span class="name">{html.escape(name)}</span> <span class="facts">{told}</span></div>{view}{turns}'


def _turn(action: str, observation: Message | None, link: _Link) -> str:
    said = f'<div class="said">{html.escape(action)}</div>'
    if observation is None:
        return said
    if not observation.images:
        return f'{said}<div class="said facts">{html.escape(observation.text)}</div>'
    figures = (
        f'<figure class="crop"><img loading="lazy" alt="" src="{link(image)}"></figure>' for image in observation.images
    )
    return said + "".join(figures)
