"""The page of disagreements: questions with something against their answers, and buttons for a person to decide."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path

from deepeyes_env.agents.curation.asking import Questions
from deepeyes_env.agents.curation.curation import DISAGREEMENTS
from deepeyes_env.agents.curation.label_file import Labelled
from deepeyes_env.core import Sample
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.images import codec
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import clamp, to_pixels
from deepeyes_env.images.ops import crop, fit
from deepeyes_env.trajectories.markup import figure, open_page, text

MOST = 500
"""How many questions a page shows."""

SIDE = 640
"""Longest side of a picture in pixels."""

CROPS = 4
"""How many ground-truth boxes are shown at their native pixels beside the picture."""

AROUND = 0.25
"""How much of a box's longer side is shown around it."""

_STYLE = """
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem 1rem;
  margin: 0 0 .7rem; display: grid; grid-template-columns: minmax(0, 480px) 1fr; gap: 1rem; }
article > div > figure img { max-width: 100%; max-height: 480px; }
.crops { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 .5rem; }
.crops figure img { max-width: 100%; min-width: 96px; max-height: 240px; }
article.decided { opacity: .55; } article p { margin: .2rem 0 .5rem; overflow-wrap: anywhere; }
.against { color: var(--wrong); } .soft { color: var(--soft); }
button { font: inherit; color: inherit; background: var(--card); cursor: pointer; padding: .25rem .7rem;
  margin: 0 .3rem .5rem 0; border: 1px solid var(--line); border-radius: 8px; }
button[aria-pressed=true] { background: var(--ink); color: var(--page); }
@media (max-width: 640px) { article { grid-template-columns: minmax(0, 1fr); } }
"""

_SCRIPT = """
const key = "disagreements " + document.title;
let decided = {};
try { decided = JSON.parse(localStorage.getItem(key)) || {}; } catch { decided = {}; }
const count = document.getElementById("count");
function show() {
  for (const article of document.querySelectorAll("article")) {
    const said = decided[article.dataset.row] ?? article.dataset.said ?? "";
    article.classList.toggle("decided", said !== "");
    for (const button of article.querySelectorAll("button")) button.ariaPressed = String(button.value === said);
  }
  count.textContent = Object.keys(decided).length + " decided on this page";
}
for (const button of document.querySelectorAll("article button")) button.onclick = () => {
  const row = button.closest("article").dataset.row;
  if (decided[row] === button.value) delete decided[row]; else decided[row] = button.value;
  try { localStorage.setItem(key, JSON.stringify(decided)); } catch { }
  show();
};
document.getElementById("save").onclick = () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(decided, null, 1)], { type: "application/json" }));
  link.download = "decisions.json";
  link.click();
};
show();
"""


def write_disagreements(folder: Path, questions: Questions, listed: Iterable[Labelled]) -> Path:
    """Write the page; it needs no server and no other file.

    Args:
        folder: Folder of the curation.
        questions: The questions as they are asked.
        listed: Those with something against their answers; of more than ``MOST``, the first.
    """
    out = folder / DISAGREEMENTS
    shown = list(listed)
    title = f"{len(shown)} answers of {folder.resolve().name} with something against them"
    with open_page(out, title, style=_STYLE, script=_SCRIPT) as file:
        told = f", of which the first {MOST} are here" if len(shown) > MOST else ""
        file.write(
            f'<p class="soft">Decide{told}, then <button id="save">save decisions</button> and run '
            "<code>deepeyes curate --out DIR --decisions decisions.json</code>. <span id='count'></span>. Where a row "
            "says where its answer is, that part is dashed and stands beside the picture in native pixels.</p>\n"
        )
        for labelled in shown[:MOST]:
            file.write(_article(labelled, questions))
    return out


def _article(labelled: Labelled, questions: Questions) -> str:
    try:
        sample = questions[labelled.row]
        pixels = sample.images[0].pixels()
        picture = figure(_picture(pixels), f"the image of question {sample.id}", _boxes(sample))
        parts = [figure(_picture(part), "where the answer is, in native pixels") for part in _parts(sample, pixels)]
    except DeepEyesError as error:
        return f"<article><p>row {labelled.row}: {escape(str(error))}</p></article>\n"
    options = f" ({text(' / '.join(sample.options))})" if sample.options else ""
    against = "".join(f'<p class="against">{text(str(each))}</p>' for each in labelled.found["against"])
    crops = f'<div class="crops">{"".join(parts)}</div>' if parts else ""
    said = labelled.found.get("person")
    mark = f' data-said="{escape(str(said))}"' if said else ""
    buttons = "".join(
        f'<button value="{value}" aria-pressed="false">the answer is {value}</button>' for value in ("right", "wrong")
    )
    return (
        f'<article data-row="{labelled.row}"{mark}><div>{picture}</div><div>'
        f'<p class="soft">row {labelled.row}, {text(sample.id)}</p><p>{text(sample.question)}{options}</p>'
        f"<p>Answer: <b>{text(sample.answer)}</b></p>{against}{crops}{buttons}</div></article>\n"
    )


def _parts(sample: Sample, pixels: Image) -> Iterator[Image]:
    """Cut out the first ground-truth boxes of the image, with something around each."""
    height, width = pixels.shape[:2]
    for x1, y1, x2, y2 in [truth.box for truth in sample.regions if truth.image == 0][:CROPS]:
        margin = AROUND * max(x2 - x1, y2 - y1)
        left, top, right, bottom = to_pixels(
            clamp((x1 - margin, y1 - margin, x2 + margin, y2 + margin), (width, height))
        )
        if left < right and top < bottom:  # a wrong box may lie outside
            yield crop(pixels, (left, top, right, bottom))


def _picture(pixels: Image) -> str:
    height, width = pixels.shape[:2]
    scale = min(1.0, SIDE / max(width, height))
    small = fit(pixels, (max(1, round(width * scale)), max(1, round(height * scale))))
    return f"data:image/jpeg;base64,{base64.b64encode(codec.encode(small, 'jpeg', quality=80)).decode()}"


def _boxes(sample: Sample) -> str:
    width, height = sample.images[0].size
    rects = "".join(
        f'<rect class="truth" x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"/>'
        for x1, y1, x2, y2 in (truth.box for truth in sample.regions if truth.image == 0)
    )
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{rects}</svg>'
