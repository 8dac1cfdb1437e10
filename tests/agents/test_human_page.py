"""The page of ``deepeyes play`` in a real browser, with a real mouse."""

import http.server
import io
import json
import socketserver
import threading
from typing import Literal

import pytest
from PIL import Image as PILImage

from deepeyes_env import Sample, register_toolbox, tool
from deepeyes_env.images import Image
from tests.agents.human_game import SIZE, TRUTH, playing, question
from tests.agents.human_tab import Tab, screen, within
from tests.conftest import pattern

pytestmark = pytest.mark.browser

HOSTILE = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&amp;</script>"
TRUTH_GREEN = (53, 224, 127)


@pytest.fixture
def open_tab(pages):
    return lambda game, **kwargs: Tab(pages, game.url, **kwargs)


@pytest.fixture
def game(tmp_path):
    with playing(tmp_path / "run", max_turns=8) as running:
        yield running


# --- several images -----------------------------------------------------------------------------------------------


def test_boxes_are_drawn_on_a_second_image_and_on_a_crop_of_it(tmp_path, open_tab):
    images = [pattern(*SIZE), pattern(SIZE[1], SIZE[0])]
    sample = Sample("two", "Which?", "red", images, ("red", "blue"), boxes=[(100, 200, 300, 500)], box_images=[1])
    with playing(tmp_path / "run", "VisualToolboxMiniO3-v0", dataset=[sample], episodes=1, frame="unit") as game:
        tab = open_tab(game)
        assert tab.page.locator("#field-source").count() == 0, "the image that is looked at is the one that is meant"
        tab.page.click(".thumb >> nth=1")
        tab.settle()
        first = tab.drag((0.2, 0.2), (0.7, 0.6))
        tab.call(1)
        second = tab.drag((0.1, 0.3), (0.8, 0.9))
        tab.call(2)
        tab.page.click(".thumb >> nth=1")
        tab.settle()
        assert tab.page.locator(".used").count() == 2
        tab.page.click(".thumb >> nth=0")
        tab.settle()
        assert tab.page.locator(".used").count() == 0
        tab.answer("red")
    (episode,) = game.recorded()
    assert [result.call.arguments["source"] for result in episode.results] == ["original_image_2", "observation_1"]
    outer = within((0, 0, SIZE[1], SIZE[0]), first)
    assert [look.image for look in episode.looks] == [1, 1]
    assert episode.looks[0].box == pytest.approx(outer, abs=1)
    assert episode.looks[1].box == pytest.approx(within(episode.looks[0].box, second), abs=1)
    assert tab.complaints == []


# --- a whole episode ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "width", "height"),
    [("view", 1280, 800), ("norm1000", 1500, 1000), ("unit", 1100, 700), ("native", 620, 900)],
)
def test_what_is_drawn_is_what_is_recorded(tmp_path, open_tab, frame, width, height):
    with playing(tmp_path / "run", frame=frame) as game:
        tab = open_tab(game, width=width, height=height)
        first = within((0, 0, *SIZE), tab.drag((0.21, 0.18), (0.52, 0.61)))
        assert tab.drawn(".draft .line") == pytest.approx(screen(tab, first), abs=1)
        tab.page.fill("#thought", "Too small to read.")
        tab.call(1)

        assert tab.page.locator(".thumb[aria-pressed=true]").get_attribute("title") == "Image of call 1"
        second = tab.drag((0.9, 0.8), (0.3, 0.25))  # backwards
        tab.call(2)
        tab.answer("red")
        tab.page.click("#next")
        tab.page.wait_for_selector("text=What colour is flag 1?")
    (episode,) = game.recorded()
    used = [result.box for result in episode.results]
    assert used[0] == pytest.approx(first, abs=1)
    assert used[1] == pytest.approx(within(used[0], second), abs=1)
    check_numbers(episode, frame)
    assert episode.turns[0].action.startswith("<think>Too small to read.</think><tool_call>")
    assert (episode.reward, episode.stop_reason) == (2.0, "answer")
    assert tab.complaints == []
    assert all(url.startswith(game.url) or url.startswith("data:") for url in tab.requests)


def check_numbers(episode, frame):
    """Check that the first box is written in the frame's units, with no more decimals than a native pixel needs."""
    box = episode.results[0].call.arguments["bbox_2d"]
    extent = {"view": episode.view_size, "norm1000": (1000, 1000), "unit": (1, 1), "native": SIZE}[frame]
    decimals = {"view": 1, "norm1000": 1, "unit": 4, "native": 0}[frame]
    assert all(0 <= value <= extent[i % 2] and value == round(value, decimals) for i, value in enumerate(box))
    assert not decimals or any(value != round(value, decimals - 1) for value in box)


def test_the_end_shows_the_reward_and_the_truth_and_not_before(game, open_tab):
    tab = open_tab(game)
    tab.drag((0.2, 0.15), (0.4, 0.4))
    tab.call(1)
    tab.page.click(".thumb >> nth=0")
    assert tab.page.locator(".truth").count() == 0
    assert "red" not in tab.text("#history")
    tab.answer("red")
    assert tab.text(".outcome h2") == "✓ Right"
    rows = [row.split() for row in tab.page.locator(".reward tr").all_inner_texts()]
    assert rows[1:] == [
        ["acc", "1.00", "0.80", "0.80"],
        ["format", "0.00", "0.20", "0.00"],
        ["tool", "1.00", "1.20", "1.20"],
        ["total", "2.00"],
    ]
    assert tab.text(".answers dd >> nth=1").endswith("· red")
    assert tab.drawn(".truth .line") == pytest.approx(screen(tab, TRUTH), abs=0.5)
    shot = PILImage.open(io.BytesIO(tab.page.screenshot())).convert("RGB")
    left, top, _, bottom = (round(value) for value in screen(tab, TRUTH))
    edge = [shot.getpixel((left + dx, y)) for y in range(top, bottom) for dx in (-1, 0, 1)]
    assert any(max(abs(a - b) for a, b in zip(pixel, TRUTH_GREEN, strict=True)) < 40 for pixel in edge)
    assert tab.text("#count") == "1 of 2 episodes played"
    assert "100.0 %" in tab.text("#score")


def test_playing_to_the_end_and_stopping(game, open_tab):
    tab = open_tab(game)
    tab.answer("green")
    assert tab.text(".outcome h2") == "✗ Wrong"
    tab.page.keyboard.press("Enter")  # the button for what comes next has the focus
    tab.page.wait_for_selector("text=What colour is flag 1?")
    tab.page.click("#stop")
    tab.page.wait_for_selector("text=1 episode recorded; the same command plays the other 1")
    assert game.ended.get(timeout=60).episodes == 1


# --- drawing -----------------------------------------------------------------------------------------------------


def test_boxes_end_at_the_edge_and_trembling_draws_nothing(game, open_tab):
    tab = open_tab(game)
    tab.drag((0.5, 0.5), (0.501, 0.502))
    assert tab.fields() == ["", "", "", ""]
    tab.drag((0.5, 0.5), (1.2, 1.3))
    extent = game.state()["episode"]["images"][0]["pad"]["extent"]
    assert [float(value) for value in tab.fields()[2:]] == extent
    left, top, width, height = tab.image()
    tab.page.mouse.move(left + width / 4, top + height / 4)
    tab.page.mouse.down()
    tab.page.mouse.move(left + width / 3, top + height / 2)
    tab.page.keyboard.press("Escape")
    tab.page.mouse.move(left + width / 8, top + height / 8)
    tab.page.mouse.up()
    assert [float(value) for value in tab.fields()[2:]] == extent, "Escape gives the box before back"


def test_a_turned_image_cannot_be_drawn_on(game, open_tab):
    tab = open_tab(game)
    tab.page.click("[data-tool=image_rotate_tool]")
    tab.page.fill("#field-angle", "90")
    tab.call(1)
    assert tab.page.locator(".canvas > img").evaluate("image => image.naturalHeight > image.naturalWidth")
    tab.drag((0.2, 0.2), (0.6, 0.6))
    assert tab.page.locator(".draft").count() == 0
    assert "draw there" in tab.text("#hint")
    tab.page.click(".thumb >> nth=0")
    tab.page.click("[data-tool=image_rotate_tool]")
    tab.drag((0.2, 0.2), (0.6, 0.6))
    assert tab.page.locator(".draft").count() == 1
    assert tab.page.locator("[data-tool=image_zoom_in_tool]").get_attribute("aria-pressed") == "true"
    assert "" not in tab.fields()


def test_a_refused_call_says_why(game, open_tab):
    tab = open_tab(game)
    tab.drag((0.5, 0.5), (0.51, 0.51))
    tab.call(1)
    assert "at least 14 wide" in tab.text("#notice")
    assert "bad arguments" in tab.text(".call")
    assert tab.page.locator(".thumb").count() == 1


def test_the_keyboard_is_enough(game, open_tab):
    tab = open_tab(game)
    press, type_text = tab.page.keyboard.press, tab.page.keyboard.type
    tab.page.focus("#thought")
    type_text("Look.")
    for _ in range(3):
        press("Tab")  # over the two tools
    for value in ("100", "80", "300", "240"):
        type_text(value)
        press("Tab")
    box = tab.drawn(".draft .line")
    press("Shift+Tab")
    press("Shift+ArrowUp")
    assert tab.fields() == ["100", "80", "300", "241.0"]
    assert tab.drawn(".draft .line")[3] > box[3]
    press("Enter")
    tab.page.wait_for_selector(".call")
    tab.page.focus(".option input >> nth=0")
    press("ArrowDown")
    press("Enter")
    tab.page.wait_for_selector(".outcome")
    press("Enter")
    tab.page.wait_for_selector("text=What colour is flag 1?")
    (episode,) = game.recorded()
    assert episode.results[0].call.arguments["bbox_2d"] == [100, 80, 300, 241]
    assert episode.answer == "B"


# --- forms -------------------------------------------------------------------------------------------------------


def test_forms_are_made_of_schemas(tmp_path, open_tab):
    seen = []

    @tool
    def adjust(
        image: Image,
        mode: Literal["light", "dark"],
        strength: float,
        steps: int = 3,
        keep: bool | None = None,
        note: str = "",
        points: list[list[int]] | None = None,
    ) -> Image:
        """Make the image easier to see."""
        seen.append((mode, strength, steps, keep, note, points))
        return image

    register_toolbox("AdjustForHumans-v0", tools=[adjust])
    with playing(tmp_path / "run", "AdjustForHumans-v0") as game:
        tab = open_tab(game)
        tab.page.click(".tool-form button")
        assert tab.page.locator("#field-mode:invalid, #field-strength:invalid").count() >= 1
        tab.page.select_option("#field-mode", label="dark")
        tab.page.fill("#field-strength", "0.5")
        tab.page.select_option("#field-keep", label="false")
        tab.page.fill("#field-note", HOSTILE)
        tab.page.fill("#field-points", "[[1, 2")
        tab.page.click(".tool-form button")
        assert tab.page.locator("#field-points:invalid").count() == 1
        tab.page.fill("#field-points", "[[1, 2]]")
        tab.call(1)
        tab.drag((0.2, 0.2), (0.6, 0.6))
        assert tab.page.locator(".draft").count() == 0, "no tool takes a box"
        assert tab.page.evaluate("window.hacked") is None
    assert seen == [("dark", 0.5, 3, False, HOSTILE, [[1, 2]])]


def test_what_cannot_be_said_is_kept_to_be_mended(game, open_tab):
    tab = open_tab(game)
    tab.page.fill("#thought", "I say <answer>A</answer>")
    tab.drag((0.2, 0.2), (0.6, 0.6))
    before = tab.fields()
    tab.page.click(".tool-form button")
    tab.page.wait_for_selector("#notice:not([hidden])")
    assert "holds <answer>, " in tab.text("#notice")
    assert (tab.page.input_value("#thought"), tab.fields()) == ("I say <answer>A</answer>", before)
    tab.page.fill("#thought", "I say A")
    tab.call(1)
    assert tab.page.locator("#notice").is_hidden()


def test_texts_are_only_ever_texts(tmp_path, open_tab):
    hostile = question(answer=HOSTILE, options=(HOSTILE, "b"), data_source=HOSTILE)
    with playing(tmp_path / "run", dataset=[hostile], episodes=1) as game:
        tab = open_tab(game)
        assert HOSTILE in tab.text(".options")
        tab.answer("&amp;")
        assert HOSTILE in tab.text(".outcome")
        assert tab.page.evaluate("window.hacked") is None
        assert tab.complaints == []


def test_an_open_answer_is_typed(tmp_path, open_tab):
    with playing(tmp_path / "run", dataset=[question(options=())], episodes=1) as game:
        tab = open_tab(game)
        tab.page.fill("#answer", "Red")
        tab.page.keyboard.press("Enter")
        tab.page.wait_for_selector(".outcome.right")
        assert tab.text("#next") == "Finish"
        tab.page.click("#next")
        tab.page.wait_for_selector("text=Thank you")
        assert game.ended.get(timeout=60).accuracy == 1.0


# --- tabs --------------------------------------------------------------------------------------------------------


def test_a_closed_tab_loses_nothing(game, open_tab):
    tab = open_tab(game)
    tab.drag((0.2, 0.2), (0.6, 0.6))
    tab.call(1)
    tab.page.close()
    tab = open_tab(game)
    assert tab.page.locator(".call").count() == 1
    assert tab.page.locator(".thumb").count() == 2
    tab.drag((0.2, 0.2), (0.6, 0.6))
    tab.call(2)
    tab.page.reload()
    tab.page.wait_for_selector(".call >> nth=1")


def test_a_tab_that_is_behind_is_told(game, open_tab):
    first, second = open_tab(game), open_tab(game)
    second.drag((0.2, 0.2), (0.6, 0.6))
    second.call(1)
    first.page.click(".option >> nth=0")
    first.page.click(".answer-form button")
    first.page.wait_for_selector(".call")
    assert "moved on" in first.text("#notice")
    assert game.recorded() == []
    first.answer("red")
    second.page.evaluate("window.dispatchEvent(new Event('focus'))")
    second.page.wait_for_selector(".outcome.right")


def test_a_game_that_is_gone_is_named(tmp_path, open_tab):
    with playing(tmp_path / "run") as game:
        tab = open_tab(game)
    tab.page.click(".option >> nth=0")
    tab.page.click(".answer-form button")
    tab.page.wait_for_selector("#notice:not([hidden])")
    assert "Is deepeyes play still running?" in tab.text("#notice")


def test_an_address_without_its_token_shows_no_game(game, chromium):
    page = chromium.new_page()
    page.goto(f"http://{game.host}/")
    assert "holds a token" in json.loads(page.inner_text("body"))["error"]
    page.close()


def test_a_page_of_another_origin_can_do_nothing_even_with_the_token(game, chromium):
    page = chromium.new_page()
    tried = []
    page.on("request", lambda request: tried.append(request.url))
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.handle_request, daemon=True).start()
        page.goto(f"http://127.0.0.1:{other.server_address[1]}/nothing")
    page.evaluate(
        """async (url) => {
            for (const options of [{}, { mode: "no-cors" }]) {
                await fetch(url + "state", options).catch(() => 0);
                await fetch(url + "stop", { ...options, method: "POST", body: "{}" }).catch(() => 0);
            }
            await new Promise((done) => {
                const image = Object.assign(new Image(), { onload: done, onerror: done, src: url + "image/0/0" });
                document.body.append(image);
            });
        }""",
        game.url,
    )
    assert page.locator("img").evaluate("image => image.naturalWidth") == 0
    assert sum(url.startswith(game.url) for url in tried) >= 5
    assert game.state()["phase"] == "turn"
    page.close()


# --- looks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1000, 640), (390, 844)])
def test_it_fits_the_window(game, open_tab, width, height):
    tab = open_tab(game, width=width, height=height)
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width
    left, top, image_width, image_height = tab.image()
    assert 0 <= left <= left + image_width <= width
    assert 0 <= top <= top + image_height <= height
    assert image_width / image_height == pytest.approx(1.6, rel=0.05)
    tab.page.locator(".answer-form button").scroll_into_view_if_needed()
    assert tab.page.locator(".answer-form button").is_visible()


@pytest.mark.integration
def test_light_and_dark(game, open_tab):
    def brightness(scheme):
        shot = PILImage.open(io.BytesIO(open_tab(game, scheme=scheme).page.screenshot())).convert("L")
        return shot.getpixel((1270, 700))

    assert brightness("light") > 200
    assert brightness("dark") < 60
