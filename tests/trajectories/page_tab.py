"""A tab of a browser with a page of episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image as PILImage

from deepeyes_env.images.frames import BBox


@dataclass
class Tab:
    """A page of the browser with what it complained about and asked for."""

    page: Any = None
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def shown(self) -> list[int]:
        """Numbers of the episodes in the list, from the top."""
        rows = self.page.locator(".row").evaluate_all("rows => rows.map(row => [row.offsetTop, +row.dataset.number])")
        return [number for _, number in sorted(rows)]

    def current(self) -> str:
        return self.page.locator(".title .number").inner_text()


def expected(tab: Tab, box: BBox) -> list[float]:
    """Where a box in native pixels must be on screen, from the place of the image alone."""
    image = tab.page.locator(".canvas > img").bounding_box()
    sx, sy = image["width"] / 960, image["height"] / 600
    return [image["x"] + box[0] * sx, image["y"] + box[1] * sy, image["x"] + box[2] * sx, image["y"] + box[3] * sy]


def drawn(tab: Tab, selector: str) -> list[float]:
    box = tab.page.locator(selector).evaluate(
        "rect => { const m = rect.getScreenCTM(), b = rect.getBBox();"
        " const at = (x, y) => new DOMPoint(x, y).matrixTransform(m);"
        " const p = at(b.x, b.y), q = at(b.x + b.width, b.y + b.height); return [p.x, p.y, q.x, q.y]; }"
    )
    return [float(value) for value in box]


def near(shot: PILImage.Image, x: float, y: float, colour: tuple[int, int, int]) -> bool:
    """Whether a pixel within 1 of a point has a colour, but for blending at edges."""
    pixels = [shot.getpixel((round(x) + dx, round(y) + dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    return any(max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) <= 40 for pixel in pixels)  # type: ignore[arg-type]
