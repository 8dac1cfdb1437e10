"""Pieces of pages that show episodes side by side: the page's frame, images with boxes, and what was said."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TextIO, TypeAlias

from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Trajectory
from deepeyes_env.files import replacing
from deepeyes_env.images import codec
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef

Source: TypeAlias = Callable[[ImageRef], str]
"""Returns the URL of an image, as yet unescaped."""

_STYLE = """
body { margin: 0 auto; max-width: 1180px; padding: 1.2rem; }
h1 { font-size: 1.3rem; }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 1rem; }
.run { border-left: 4px solid var(--line); padding-left: .8rem; min-width: 0; }
.name { font-weight: 600; } .facts { color: var(--soft); }
.turn { display: flex; flex-wrap: wrap; gap: .7rem; align-items: flex-start; margin: .5rem 0; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; font: 12.5px/1.4 var(--mono); flex: 1 1 12rem; min-width: 0; }
figure { margin: 0; position: relative; line-height: 0; display: inline-block; }
figure img { max-width: 320px; max-height: 240px; border-radius: 6px; } .turn figure img { max-width: 160px; }
figure svg { position: absolute; inset: 0; width: 100%; height: 100%; }
rect { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; }
.truth { stroke: #111; stroke-dasharray: 4 3; } .asked { stroke: #e6007e; }
"""


@contextmanager
def open_page(out: Path, title: str, *, heading: str = "", style: str = "", script: str = "") -> Iterator[TextIO]:
    """Open a page that needs no other file than its images, to write its body to it.

    Args:
        out: The HTML file; replaced only once it is complete. What UTF-8 cannot hold becomes a question mark.
        title: Its title.
        heading: Its heading; by default the title.
        style: CSS beside that of all pages.
        script: JavaScript that runs once the page is there. Nothing else does, whatever the page is made to hold.
    """
    theme = resources.files(__package__).joinpath("viewer", "theme.css").read_text(encoding="utf-8")
    with replacing(out) as beside, beside.open("w", encoding="utf-8", errors="replace") as file:
        css = f"\n{theme}{_STYLE}{style}"
        file.write('<!doctype html>\n<html lang="en"><meta charset="utf-8">')
        file.write(f'<meta http-equiv="Content-Security-Policy" content="{_policy(css, script)}">')
        file.write('<meta name="viewport" content="width=device-width, initial-scale=1">')
        file.write(f"<title>{html.escape(title)}</title><style>{css}</style>")
        file.write(f"<h1>{html.escape(heading or title)}</h1>\n")
        yield file
        file.write(f"<script>{script}</script></html>\n" if script else "</html>\n")


def _policy(css: str, script: str) -> str:
    """Return the content-security policy of a page: its own style and script, named by their hashes, and images."""
    scripts = f"script-src '{_digest(script)}'; " if script else ""
    allowed = f"{scripts}style-src '{_digest(css)}'; img-src 'self' file: data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _digest(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


def text(value: str) -> str:
    """Return text as HTML, images' placeholders left out."""
    return html.escape(value.replace(IMAGE_PLACEHOLDER, " ").strip())


def episode(name: str, facts: Sequence[str], trajectory: Trajectory, source: Source) -> str:
    """Return an episode: who played it, what is to be known of it, its first image with boxes, and its turns."""
    told = html.escape(", ".join(fact for fact in facts if fact))
    head = f'<div><span class="name">{html.escape(name)}</span> <span class="facts">{told}</span></div>'
    seen = f"the image of the question as {name} saw it"
    views = (figure(source(image), seen, _boxes(trajectory, n)) for n, image in enumerate(trajectory.prompt.images))
    return head + "".join(views) + "".join(_turn(turn.action, turn.observation, source) for turn in trajectory.turns)


def figure(url: str, alt: str, overlay: str = "") -> str:
    """Return an image, with what it shows in words, and SVG over it."""
    loading = "" if url.startswith("data:") else 'loading="lazy" '
    return f'<figure><img {loading}alt="{html.escape(alt)}" src="{html.escape(url)}">{overlay}</figure>'


def embedded(image: ImageRef) -> str:
    """Return a URL that holds the image itself."""
    return f"data:image/png;base64,{base64.b64encode(codec.encode(image.pixels(), 'png')).decode()}"


def _turn(action: str, observation: Message | None, source: Source) -> str:
    said = f'<div class="said">{html.escape(action)}</div>'
    if observation is None:
        return f'<div class="turn">{said}</div>'
    if not observation.images:
        return f'<div class="turn">{said}<div class="said facts">{text(observation.text)}</div></div>'
    images = "".join(figure(source(image), "what the tool returned") for image in observation.images)
    return f'<div class="turn">{said}{images}</div>'


def _boxes(trajectory: Trajectory, image: int) -> str:
    """Return the ground truth (dashed) and the boxes that were asked for on an image as an SVG in native pixels."""
    width, height = trajectory.sample.images[image].size if image else trajectory.native_size
    rects = [_rect("truth", region.box) for region in trajectory.sample.regions if region.image == image]
    rects += [_rect("asked", look.box) for look in trajectory.looks if look.image == image]
    return f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none">{"".join(rects)}</svg>'


def _rect(kind: str, box: BBox) -> str:
    x1, y1, x2, y2 = box
    return f'<rect class="{kind}" x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"/>'
