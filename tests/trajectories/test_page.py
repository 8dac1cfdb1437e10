"""The page in a real browser."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as PILImage

from deepeyes_env.core import Trajectory
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories import TrajectoryWriter, write_page
from tests.browser import Pages, wait_until
from tests.trajectories.page_tab import Tab, drawn, expected, near

pytestmark = pytest.mark.browser

Make = Callable[..., Trajectory]
WIDE: BBox = (600.0, 350.0, 740.0, 440.0)
TALL: BBox = (100.0, 100.5, 160.0, 480.0)
HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&amp;</script>\u2028"
ORANGE, BLUE, TRUTH = (255, 159, 28), (46, 196, 255), (53, 224, 127)


@pytest.fixture
def open_page(pages: Pages) -> Callable[..., Tab]:
    def opened(page: Path, hash: str = "", width: int = 1440, height: int = 900, scheme: str = "light") -> Tab:
        tab = Tab()
        listeners = {
            "console": lambda message: tab.complaints.append(message.text),
            "pageerror": lambda error: tab.complaints.append(str(error)),
            "request": lambda request: tab.requests.append(request.url),
        }
        tab.page = pages.open(width, height, scheme, listeners)
        tab.page.goto(page.as_uri() + hash)
        wait_until(tab.page, "[...document.images].every(image => image.complete || image.loading === 'lazy')")
        return tab

    return opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, make_episode: Make) -> Path:
    """Six episodes; rewards 2.0, 0.8, 0, 2.0, 0, 0 (not judged); calls 2, 0, 1 failed, 1, 1 + 1 failed, 0."""
    run = tmp_path_factory.mktemp("street")
    error = "bbox_2d [900, 10, 40, 300]: x1 must be less than x2; the image is 960 x 600"
    stopped = replace(make_episode(answer="C", right=False, error=error), stop_reason="max_turns", terminated=False)
    with TrajectoryWriter(run) as writer:
        writer.write(make_episode(boxes=(WIDE, TALL)))
        writer.write(make_episode(boxes=()))
        writer.write(make_episode(answer="B", right=False, boxes=(), error=error))
        writer.write(make_episode(id=HOSTILE, answer=HOSTILE, think=HOSTILE))
        writer.write(stopped)
        writer.write(make_episode(right=None, boxes=(), last="A zebra?"))
    return write_page(run)


def test_it_loads_from_disk_without_a_complaint(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page)
    for number in range(2, 7):
        tab.page.keyboard.press("j")
        assert tab.current() == f"#{number}"
    assert tab.complaints == []
    assert all(url.startswith(page.parent.as_uri()) or url.startswith("data:") for url in tab.requests)
    summary = dict(zip(tab.texts("#summary dt"), tab.texts("#summary dd"), strict=True))
    assert summary["episodes"] == "6"
    assert summary["accuracy"] == "60.0 %"
    assert summary["reward"] == "0.80"
    assert summary["calls per episode"] == "1.00"
    assert summary["failed calls"] == "2"


@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (1024, 768), (420, 860)])
def test_boxes_are_at_the_right_pixels(page: Path, open_page: Callable[..., Tab], width: int, height: int) -> None:
    tab = open_page(page, "#1", width, height)
    for call, box in ((1, WIDE), (2, TALL)):
        assert drawn(tab, f".used[data-call='{call}'] .line") == pytest.approx(expected(tab, box), abs=0.25)
        outer = tab.page.locator(f".used[data-call='{call}'] .line").bounding_box()
        assert outer["x"] == pytest.approx(expected(tab, box)[0], abs=2)
        assert outer["x"] + outer["width"] == pytest.approx(expected(tab, box)[2], abs=2)
    assert drawn(tab, ".truth .line") == pytest.approx(expected(tab, (640, 380, 700, 410)), abs=0.25)

    shot = PILImage.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    for box, colour in ((WIDE, ORANGE), (TALL, BLUE)):
        left, top, right, bottom = expected(tab, box)
        middle = ((left + right) / 2, (top + bottom) / 2)
        for x, y in ((left, middle[1]), (right, middle[1]), (middle[0], bottom)):
            assert near(shot, x, y, colour), f"no line of {box} at {x:.0f}, {y:.0f}"
        assert not near(shot, left - 8, middle[1], colour)
        assert not near(shot, left + 8, middle[1], colour)
    left, top, _, bottom = expected(tab, (640, 380, 700, 410))
    assert any(near(shot, left, y, TRUTH) for y in range(round(top), round(bottom)))


@pytest.mark.parametrize("width", [1400, 390])
def test_it_shows_what_the_policy_saw_and_the_stored_image_by_a_switch(
    page: Path, open_page: Callable[..., Tab], width: int
) -> None:
    tab = open_page(page, "#1", width)

    def shown() -> tuple[int, float]:
        """Pixels across the image that is shown, and how far its pixels are from squares."""
        wait_until(tab.page, "document.querySelector('.canvas > img').naturalWidth > 0")
        image = tab.page.locator(".canvas > img")
        across, down = image.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        box = image.bounding_box()
        assert drawn(tab, ".used[data-call='1'] .line") == pytest.approx(expected(tab, WIDE), abs=0.25)
        return across, (box["width"] / across) / (box["height"] / down)

    assert shown() == (476, pytest.approx(1, abs=0.01))
    assert tab.texts("[data-image]") == ["what the policy saw 476 × 308 px", "stored image 960 × 600 px"]
    frame, tools = (tab.page.locator(each).bounding_box() for each in (".stage", ".zoom"))
    assert tools["x"] + tools["width"] <= frame["x"] + frame["width"] + 1 <= width
    tab.page.click("[data-image=stored]")
    assert shown() == (960, pytest.approx(1, abs=0.01))
    tab.page.keyboard.press("j")
    assert tab.page.locator("[data-image=stored]").get_attribute("aria-pressed") == "true", "the choice stays"
    tab.page.keyboard.press("v")
    assert tab.page.locator(".canvas > img").evaluate("image => image.naturalWidth") == 476


def test_small_views_show_their_pixels(tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]) -> None:
    episode = make_episode()
    small = ImageRef.of(PILImage.fromarray(episode.prompt.images[0].pixels()).resize((112, 84)))
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(replace(episode, prompt=replace(episode.prompt, images=(small,))))
        writer.write(replace(episode, prompt=replace(episode.prompt, images=episode.sample.images)))
    tab = open_page(write_page(tmp_path))
    rendering = "image => getComputedStyle(image).imageRendering"
    assert tab.page.locator(".canvas > img").evaluate(rendering) == "pixelated"
    tab.page.keyboard.press("j")
    assert tab.page.locator("[data-image]").count() == 0, "the policy saw the stored image itself"
    assert tab.texts(".toolbar > .muted") == ["what the policy saw 960 × 600 px"]


def test_boxes_stay_right_when_the_image_is_zoomed(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#1")
    before = tab.page.locator(".canvas > img").bounding_box()["width"]
    tab.page.click(".label[data-call='2']")  # pins the tall box: zooming goes there
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("+")
    assert tab.page.locator(".canvas > img").bounding_box()["width"] == pytest.approx(4 * before, rel=0.01)
    for call, box in ((1, WIDE), (2, TALL)):
        assert drawn(tab, f".used[data-call='{call}'] .line") == pytest.approx(expected(tab, box), abs=0.5)
    frame = tab.page.locator(".viewport").bounding_box()
    left, top, right, bottom = expected(tab, TALL)
    assert frame["x"] < left < right < frame["x"] + frame["width"]
    assert (top + bottom) / 2 == pytest.approx(frame["y"] + frame["height"] / 2, abs=2)
    tab.page.keyboard.press("0")
    assert tab.page.locator(".canvas > img").bounding_box()["width"] == pytest.approx(before)


def test_numbers_of_boxes_can_be_told_apart_and_seen(
    tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]
) -> None:
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(make_episode(boxes=(WIDE, WIDE, (300.0, 0.0, 400.0, 50.0))))
    tab = open_page(write_page(tmp_path))
    frame = tab.page.locator(".viewport").bounding_box()
    labels = [tab.page.locator(f".label[data-call='{call}']").bounding_box() for call in (1, 2, 3)]
    assert labels[0]["x"] + labels[0]["width"] <= labels[1]["x"]
    assert all(label["y"] >= frame["y"] - 1 for label in labels)
    tab.page.click(".label[data-call='1']")
    assert tab.page.locator(".call.active").get_attribute("data-call") == "1"


def test_a_box_and_its_crop_point_at_each_other(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#1")

    def active() -> set[str]:
        return set(tab.page.locator("[data-call].active").evaluate_all("all => all.map(one => one.dataset.call)"))

    left, top, _, _ = expected(tab, WIDE)
    tab.page.mouse.move(left + 4, top + 12)
    assert active() == {"1"}
    tab.page.hover(".call[data-call='2']")
    assert active() == {"2"}
    assert tab.page.locator(".call.active .crops img").count() == 1
    tab.page.click(".call[data-call='2'] .badge")
    tab.page.mouse.move(2, 2)
    assert active() == {"2"}, "a click keeps the highlight"
    tab.page.keyboard.press("Escape")
    assert active() == set()


def test_ground_truth_can_be_hidden_and_stays_hidden(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#1")
    assert tab.page.locator(".truth .line").is_visible()
    tab.page.keyboard.press("g")
    assert not tab.page.locator(".truth .line").is_visible()
    tab.page.keyboard.press("j")
    assert not tab.page.locator(".truth .line").is_visible()
    tab.page.click(".truth-toggle input")
    assert tab.page.locator(".truth .line").is_visible()


def test_filters(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page)
    assert tab.shown() == [1, 2, 3, 4, 5, 6]
    tab.page.click("text=Right 3")
    assert tab.shown() == [1, 2, 4]
    tab.page.click("text=Wrong 2")
    assert tab.shown() == [3, 5]
    assert tab.current() == "#3", "an episode that is filtered out gives way to the first that is not"
    assert tab.texts("#shown") == ["2 of 6 episodes"]
    tab.page.click("text=All 6")
    for value, numbers in (("used", [1, 3, 4, 5]), ("unused", [2, 6]), ("failed", [3, 5]), ("any", [1, 2, 3, 4, 5, 6])):
        tab.page.select_option("#tools", value)
        assert tab.shown() == numbers
    for words, numbers in (
        ("ZEBRA", [6]),
        ("car x1 must", [3, 5]),
        ("max turns", [5]),
        ("<img", [4]),
        ("zebra x1", []),
    ):
        tab.page.fill("#search", words)
        assert tab.shown() == numbers
    assert tab.complaints == []


def test_sorting(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page)
    tab.page.select_option("#sort", "reward")
    assert tab.shown() == [3, 5, 6, 2, 1, 4]
    tab.page.click("#direction")
    assert tab.shown() == [1, 4, 2, 3, 5, 6]
    tab.page.select_option("#sort", "turns")
    assert tab.shown() == [1, 5, 3, 4, 2, 6]
    tab.page.select_option("#sort", "number")
    assert tab.shown() == [6, 5, 4, 3, 2, 1]


def test_keyboard(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page)
    for key, number in (
        ("j", 2),
        ("ArrowDown", 3),
        ("ArrowRight", 4),
        ("k", 3),
        ("ArrowUp", 2),
        ("ArrowLeft", 1),
        ("k", 1),
    ):
        tab.page.keyboard.press(key)
        assert tab.current() == f"#{number}"
    tab.page.keyboard.press("/")
    tab.page.keyboard.type("j")  # now a letter
    assert tab.current() == "#1"
    assert tab.page.input_value("#search") == "j"
    tab.page.fill("#search", "red")
    tab.page.keyboard.press("ArrowDown")
    assert tab.current() == "#2"
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("j")
    assert tab.current() == "#3"


def test_deep_links(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#4")
    assert tab.current() == "#4"
    tab.page.keyboard.press("j")
    assert tab.page.evaluate("location.hash") == "#5"  # the driver learns of it later
    tab.page.evaluate("location.hash = '#2'")
    wait_until(tab.page, "document.querySelector('.title .number').textContent === '#2'")
    assert tab.page.locator(".row[aria-selected=true]").get_attribute("data-number") == "2"
    assert open_page(page, "#99").current() == "#1"


def test_what_a_model_writes_is_never_html(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#4")
    tab.page.click("text=Details")
    tab.page.wait_for_timeout(100)  # an error handler would have run by then
    assert tab.page.evaluate("window.hacked") is None
    assert tab.page.locator(".segment.think .body").first.text_content() == HOSTILE.strip()
    assert tab.page.locator(".given").text_content() == HOSTILE.strip()
    assert HOSTILE in tab.page.locator(".facts").text_content()
    assert tab.page.locator("main script").count() == 0
    assert tab.complaints == []


def test_what_an_episode_shows(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, "#5")
    assert tab.texts(".title h2") == ["What colour is the car?"]
    assert tab.texts(".verdict") == ["✗ wrong"]
    assert tab.texts(".segment .tag") == ["think", "tool_call", "tool_call", "think", "answer"]
    assert tab.texts(".call.failed .status") == ["bad arguments"]
    assert "x1 must be less than x2" in tab.texts(".call.failed .error")[0]
    assert tab.texts(".options .truth span") == ["red"]
    assert tab.texts(".options .chosen span") == ["green"]
    assert tab.texts("table.reward tbody th") == ["acc", "format", "tool"]
    assert tab.texts(".ending") == ["ended: max turns"]
    assert tab.texts(".system .message") == [""]  # folded
    tab.page.click("text=System prompt")
    assert tab.texts(".system .message") == ["You may call image_zoom_in_tool."]
    crop = tab.page.locator(".crops img").first
    crop.scroll_into_view_if_needed()
    wait_until(tab.page, "document.querySelector('.crops img').naturalWidth === 140")


def test_tags_are_told_apart_only_in_what_the_policy_wrote(
    tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]
) -> None:
    episode = make_episode(boxes=(), last="plain <think>not <b>closed<answer>A</answer> <answer></answer></think>")
    prompt = replace(episode.prompt, text="<image>Write <answer>...</answer>.")
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(replace(episode, prompt=prompt))
        writer.write(make_episode(boxes=(), last="<think>one<tool_call>two</tool_call><think>x</think><answer>three"))
    tab = open_page(write_page(tmp_path))
    assert tab.texts(".turn.user .message") == ["imageWrite <answer>...</answer>."]
    assert tab.texts(".segment .tag") == ["think"]
    assert tab.texts(".segment .body") == ["plain", "not <b>closed<answer>A</answer> <answer></answer>"]
    tab.page.keyboard.press("j")
    assert tab.texts(".segment .tag") == ["think (unclosed tag)", "tool_call", "think", "answer (unclosed tag)"]
    assert tab.texts(".segment .body") == ["one", "two", "x", "three"]


def test_light_and_dark(page: Path, open_page: Callable[..., Tab]) -> None:
    def brightness(scheme: str) -> int:
        shot = PILImage.open(io.BytesIO(open_page(page, scheme=scheme).page.screenshot())).convert("L")
        return int(shot.getpixel((1200, 880)))  # type: ignore[arg-type]

    assert brightness("light") > 200
    assert brightness("dark") < 60


def test_a_small_window_has_its_list_in_a_drawer(page: Path, open_page: Callable[..., Tab]) -> None:
    tab = open_page(page, width=420, height=860)
    assert not tab.page.locator("#sidebar").is_visible()
    tab.page.click("#menu")
    tab.page.click(".row[data-number='3']")
    assert tab.current() == "#3"
    assert not tab.page.locator("#sidebar").is_visible()
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 420


def test_a_page_moved_away_from_its_run(tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]) -> None:
    with TrajectoryWriter(tmp_path / "run") as writer:
        writer.write(make_episode())
    write_page(tmp_path / "run", tmp_path / "page")
    shutil.rmtree(tmp_path / "run")
    moved = (tmp_path / "page").rename(tmp_path / "moved")
    tab = open_page(moved / "index.html")
    assert tab.page.locator(".canvas > img").evaluate("image => image.naturalWidth") == 476
    tab.page.click("[data-image=stored]")
    wait_until(tab.page, "document.querySelector('.canvas > img').naturalWidth === 960")
    assert tab.complaints == []


@pytest.mark.integration
def test_thousands_of_episodes(tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]) -> None:
    episode = make_episode()
    with TrajectoryWriter(tmp_path) as writer:
        for _ in range(2000):
            writer.write(episode)
    tab = open_page(write_page(tmp_path), "#1999")
    assert tab.page.locator(".row").count() < 60
    assert tab.page.locator(".row[aria-selected=true]").inner_text().splitlines()[-1].startswith("#1999")
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("j")
    assert tab.current() == "#2000"


def test_runs_with_nothing_to_show(tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]) -> None:
    TrajectoryWriter(tmp_path / "empty").close()
    tab = open_page(write_page(tmp_path / "empty"))
    assert tab.texts("#episode") == ["This run has no episodes yet."]
    tab.page.keyboard.press("j")
    tab.page.keyboard.press("+")
    tab.page.keyboard.press("Escape")
    assert tab.complaints == []

    with TrajectoryWriter(tmp_path / "unjudged") as writer:
        writer.write(replace(make_episode(right=None), turns=(), stop_reason="", terminated=False))
    tab = open_page(write_page(tmp_path / "unjudged"))
    assert tab.texts(".verdict") == ["· not judged"]
    assert tab.page.locator("[data-verdict=right]").is_disabled()
    assert tab.texts(".ending") == ["not ended"]
    assert tab.complaints == []


def test_an_image_that_is_gone_is_named(tmp_path: Path, make_episode: Make, open_page: Callable[..., Tab]) -> None:
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(make_episode(boxes=()))
    page = write_page(tmp_path)
    shutil.rmtree(tmp_path / "images")
    tab = open_page(page)
    tab.page.wait_for_selector(".canvas .missing")
    assert tab.texts(".canvas .missing")[0].startswith("image not found: images/")
