"""The comparison page: the same questions as several policies answered them, side by side."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.files import replacing
from deepeyes_env.images import codec
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef

_STYLE = """
:root { color-scheme: light; font: 15px/1.45 system-ui, sans-serif; color: #1d2733; background: #f4f6f8; }
body { margin: 0 auto; max-width: 1180px; padding: 1.2rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 0 0 .6rem; }
section { background: #fff; border: 1px solid #dde3ea; border-radius: 10px; padding: 1rem; margin: 0 0 1rem; }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 1rem; }
.run { border-left: 4px solid #c9d1da; padding-left: .8rem; min-width: 0; }
.run.right { border-color: #009e73; } .run.wrong { border-color: #d55e00; }
.name { font-weight: 600; } .verdict { color: #5b6875; }
.turn { display: flex; gap: .7rem; align-items: flex-start; margin: .5rem 0; }
.turn p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.4 ui-monospace, monospace; }
figure { margin: 0; flex: none; position: relative; line-height: 0; display: inline-block; }
figure img { width: 168px; border-radius: 6px; image-rendering: pixelated; }
.turn figure img { width: 112px; }
figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.truth { stroke: #111; stroke-dasharray: 4 3; } .asked { stroke: #e6007e; }
.options { color: #5b6875; margin: 0 0 .6rem; }
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
        ValueError: There is no run.
    """
    if not runs:
        raise UsageError("write_comparison: there is no run to show")
    path = Path(out)
    by_sample = {name: _by_sample(episodes) for name, episodes in runs.items()}
    names = " and ".join(map(html.escape, by_sample))
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        file.write('<!doctype html>\n<html lang="en"><meta charset="utf-8">')
        file.write('<meta name="viewport" content="width=device-width, initial-scale=1">')
        file.write(f"<title>{names}</title><style>{_STYLE}</style><h1>The same questions: {names}</h1>\n")
        for sample in next(iter(by_sample.values())):
            shown = {name: episodes[sample] for name, episodes in by_sample.items() if sample in episodes}
            file.write(_question(shown))
        file.write("</html>\n")
    return path


def _by_sample(episodes: Iterable[Trajectory]) -> dict[tuple[str, int], Trajectory]:
    """Return episodes by the id of their sample, and how many had the same id before."""
    seen: Counter[str] = Counter()
    by_sample = {}
    for episode in episodes:
        by_sample[episode.sample.id, seen[episode.sample.id]] = episode
        seen[episode.sample.id] += 1
    return by_sample


def _question(shown: Mapping[str, Trajectory]) -> str:
    sample = next(iter(shown.values())).sample
    options = f'<p class="options">{html.escape(" / ".join(sample.options))}</p>' if sample.options else ""
    head = f"<h2>{html.escape(sample.question)} <small>({html.escape(sample.answer)})</small></h2>{options}"
    return f'<section>{head}<div class="runs">{"".join(_run(*item) for item in shown.items())}</div></section>\n'


def _run(name: str, trajectory: Trajectory) -> str:
    right = trajectory.right
    kind = {True: " right", False: " wrong", None: ""}[None if right is None else bool(right)]
    facts = [f"reward {trajectory.reward:+.2f}"]
    facts += [f"{term} {value.weighted:+.2f}" for term, value in trajectory.reward_terms.items()]
    overlap = trajectory.best_iou
    facts += [f"IoU {overlap:.2f}"] if overlap is not None else []
    verdict = html.escape(", ".join(facts))
    title = f'<div><span class="name">{html.escape(name)}</span> <span class="verdict">{verdict}</span></div>'
    asked = trajectory.zoom_boxes
    view = _picture(trajectory.prompt.images[0], trajectory, asked) if trajectory.prompt.images else ""
    turns = "".join(_turn(turn.action, turn.observation) for turn in trajectory.turns)
    return f'<div class="run{kind}">{title}{view}{turns}</div>'


def _turn(action: str, observation: Message | None) -> str:
    said = f"<p>{html.escape(action)}</p>"
    if observation is None:
        return f'<div class="turn">{said}</div>'
    seen = "".join(_picture(image) for image in observation.images)
    error = "" if observation.images else f"<p>{html.escape(observation.text.replace(IMAGE_PLACEHOLDER, ''))}</p>"
    return f'<div class="turn">{said}{seen}{error}</div>'


def _picture(image: ImageRef, trajectory: Trajectory | None = None, asked: Iterable[BBox] = ()) -> str:
    """Return an image with the ground truth (dashed) and the boxes that were asked for, all in native pixels."""
    data = base64.b64encode(codec.encode(image.pixels(), "png")).decode()
    boxes = ""
    if trajectory is not None:
        width, height = trajectory.native_size
        marks = [*(("truth", box) for box in trajectory.sample.boxes), *(("asked", box) for box in asked)]
        rects = "".join(_rect(kind, box) for kind, box in marks)
        boxes = f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{rects}</svg>'
    return f'<figure><img alt="" src="data:image/png;base64,{data}">{boxes}</figure>'


def _rect(kind: str, box: BBox) -> str:
    x1, y1, x2, y2 = box
    return f'<rect class="{kind}" x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"/>'
