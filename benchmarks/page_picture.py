"""A picture of a question on a comparison page: README's before and after.

    python benchmarks/page_picture.py runs/train/comparison.html docs/before_after.png [--question 0] [--width 1000]

Needs Chromium and playwright, as the tests of pages do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from deepeyes_env.files import replacing  # noqa: E402
from tests.browser import CHROMIUM, FLAGS  # noqa: E402


def draw(page: Path, picture: Path, question: int, width: int) -> None:
    """Write a PNG of one question, in the light colours, at two pixels for each of the page's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, replacing(picture) as beside:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        tab = browser.new_page(
            viewport={"width": width, "height": 800},
            device_scale_factor=2,
            color_scheme="light",
        )
        tab.goto(page.resolve().as_uri())
        beside.write_bytes(tab.locator("section").nth(question).screenshot(type="png"))
        browser.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="comparison.html of a run")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--question", type=int, default=0, help="which one, in the order of the page")
    parser.add_argument("--width", type=int, default=1000, help="of the window, in CSS pixels")
    arguments = parser.parse_args()
    draw(arguments.page, arguments.picture, arguments.question, arguments.width)


if __name__ == "__main__":
    main()
