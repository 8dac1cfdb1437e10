"""Several images on the page: each box on the image that it was drawn on, and where every image comes from."""

from pathlib import Path

import pytest

from deepeyes_env import Sample, VisualToolboxEnv
from deepeyes_env.envs.looking import image_argument, look_at, look_on
from deepeyes_env.images.regions import Region
from deepeyes_env.shown import shown_images
from deepeyes_env.trajectories import TrajectoryWriter, write_page
from tests.browser import Pages, wait_until
from tests.conftest import pattern
from tests.trajectories.page_tab import Tab, drawn

pytestmark = pytest.mark.browser

OUTER, INNER = (100, 200, 420, 600), (80, 40, 240, 200)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls: 1 on the second image, 2 on its crop, 3 turns that, 4 zooms into what was turned."""
    truth = {"boxes": [(120, 220, 200, 300), (0, 0, 50, 50)], "box_images": [1, 0]}
    sample = Sample("two", "Which?", "red", [pattern(640, 480), pattern(480, 640)], ("red", "blue"), **truth)
    env = VisualToolboxEnv("VisualToolboxMiniO3-v0", [sample], view=None, max_turns=9)
    env.reset(seed=0)
    env.step(look_at(env.trajectory, Region(1, OUTER)))
    env.step(look_on(env.trajectory, shown_images(env.trajectory)[2], INNER))
    turn = {"name": "image_rotate_tool", "arguments": {"angle": 90, **image_argument(env.trajectory, 3)}}
    env.step({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": turn}]})
    env.step(look_on(env.trajectory, shown_images(env.trajectory)[4], (0, 0, 80, 60)))
    env.step("<answer>A</answer>")
    run = tmp_path_factory.mktemp("two")
    with TrajectoryWriter(run) as writer:
        writer.write(env.trajectory)
    return write_page(run)


@pytest.fixture
def tab(pages: Pages, page: Path) -> Tab:
    tab = Tab()
    tab.page = pages.open(1400, 900, "light", {"console": lambda message: tab.complaints.append(message.text)})
    tab.page.goto(page.as_uri())
    wait_until(tab.page, "[...document.images].every(image => image.complete || image.loading === 'lazy')")
    return tab


def look(tab: Tab, number: int) -> None:
    tab.page.click(f"[data-shown='{number}']")
    wait_until(tab.page, "document.querySelector('.canvas > img')?.naturalWidth > 0")


def calls(tab: Tab) -> list[str]:
    found = tab.page.locator(".canvas .used[data-call]:not(.label)")
    return sorted(found.evaluate_all("all => all.map(one => one.dataset.call)"))


def place(tab: Tab, box: tuple[float, ...], width: int, height: int) -> list[float]:
    """Where a box of an image of a size is on screen."""
    image = tab.page.locator(".canvas > img").bounding_box()
    sx, sy = image["width"] / width, image["height"] / height
    return [image["x"] + box[0] * sx, image["y"] + box[1] * sy, image["x"] + box[2] * sx, image["y"] + box[3] * sy]


def test_boxes_are_on_the_image_that_they_lie_on(tab: Tab) -> None:
    assert (calls(tab), tab.page.locator(".canvas .truth").count()) == ([], 1)
    look(tab, 1)
    assert (calls(tab), tab.page.locator(".canvas .truth").count()) == (["1", "2", "4"], 1)
    assert drawn(tab, ".used[data-call='1'] .line") == pytest.approx(place(tab, OUTER, 480, 640), abs=0.5)
    look(tab, 2)
    assert calls(tab) == ["2"]
    assert drawn(tab, ".used[data-call='2'] .line") == pytest.approx(place(tab, INNER, 320, 400), abs=0.5)
    look(tab, 4)
    assert calls(tab) == ["4"]
    assert drawn(tab, ".used[data-call='4'] .line") == pytest.approx(place(tab, (0, 0, 80, 60), 160, 160), abs=0.5)
    assert tab.complaints == []


def test_the_tree_says_where_every_image_comes_from(tab: Tab) -> None:
    parent = "b => b.parentNode.parentNode.closest('li')?.querySelector('button').dataset.shown ?? ''"
    found = tab.page.locator("[data-shown]").evaluate_all(f"all => all.map(b => [b.dataset.shown, ({parent})(b)])")
    assert dict(found) == {"0": "", "1": "", "2": "1", "3": "2", "4": "3", "5": "4"}
    assert "320 × 400 px at 100, 200" in tab.texts("[data-shown='2']")[0]
    assert "turned 90°" in tab.texts("[data-shown='4']")[0]


def test_a_call_leads_to_the_image_that_it_was_about(tab: Tab) -> None:
    tab.page.click(".call[data-call='4'] .badge")
    assert tab.page.locator("[data-shown='4']").get_attribute("aria-current") == "true"
    assert calls(tab) == ["4"]
    assert tab.page.locator(".canvas .label.active[data-call='4']").count() == 1
