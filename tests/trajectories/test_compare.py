"""The comparison page."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from deepeyes_env import agents
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.trajectories import write_comparison


@pytest.fixture(scope="module")
def runs():
    def played(name):
        scenes = VisualSearch(length=3)
        rollout = agents.rollout(
            "VisualToolbox-v2", agents.make_agent(name, seed=0), episodes=3, in_order=True, dataset=scenes
        )
        return list(rollout.trajectories)

    return {"blind": played("blind"), "oracle": played("oracle")}


def test_each_question_stands_once_with_every_run(runs, tmp_path):
    page = write_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<section ") == 3
    assert page.count('class="run right"') >= 3
    assert page.count('class="truth"') >= 6
    assert page.count('class="asked"') >= 1
    assert "http://" not in page
    assert "https://" not in page


def test_options_have_the_letters_that_each_policy_saw(tmp_path, make_episode):
    one = make_episode()
    turned = replace(one, sample=replace(one.sample, options=one.sample.options[::-1]))
    alike = write_comparison({"a": [one], "b": [one]}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall('<p class="options">(.*)</p><div class="runs">', alike) == ["(A) red  (B) blue  (C) green"]
    apart = write_comparison({"a": [one], "b": [turned]}, tmp_path / "page.html").read_text(encoding="utf-8")
    shown = re.findall('<div class="run right"><p class="options">([^<]*)</p>', apart)
    assert shown == ["(A) red  (B) blue  (C) green", "(A) green  (B) blue  (C) red"]


def test_samples_with_one_id_are_all_shown(runs, tmp_path):
    alike = {name: [replace(e, sample=replace(e.sample, id="x")) for e in episodes] for name, episodes in runs.items()}
    page = write_comparison(alike, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<section ") == 3


def test_a_summary_stands_first_and_then_what_changed(runs, tmp_path):
    right = [replace(episode, correct=1.0) for episode in runs["oracle"]]
    wrong = [replace(episode, correct=float(number == 0)) for number, episode in enumerate(runs["blind"])]
    page = write_comparison({"before": wrong, "after": right}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall('<section data-kind="([a-z]+)"', page) == ["second", "second", "both"]
    assert '<th scope="row">Accuracy</th><td>33.3%</td><td>100.0%</td>' in page
    assert "only after right: 2" in page
    assert page.index("<table>") < page.index('class="legend"') < page.index("<button") < page.index("<section ")
    assert 'alt=""' not in page


def test_a_question_that_a_run_lacks_or_nobody_judged_is_no_change(runs, tmp_path):
    unjudged = [replace(episode, correct=None) for episode in runs["blind"][:2]]
    page = write_comparison({"a": runs["oracle"], "b": unjudged}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall('<section data-kind="([a-z]+)"', page) == ["unjudged"] * 3


def test_three_policies(runs, tmp_path):
    three = {
        "a": [replace(episode, correct=1.0) for episode in runs["oracle"]],
        "b": [replace(episode, correct=float(number > 0)) for number, episode in enumerate(runs["oracle"])],
        "c": [replace(episode, correct=1.0) for episode in runs["oracle"]],
    }
    page = write_comparison(three, tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.findall('<section data-kind="([a-z]+)"', page) == ["changed", "both", "both"]


def test_what_a_policy_writes_is_shown_and_not_run(runs, tmp_path):
    evil = "</p><script>document.title='owned'</script>"
    first = runs["blind"][0]
    attacked = replace(first, turns=(replace(first.turns[0], action=evil),))
    page = write_comparison({evil: [attacked]}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1, "the page's own"
    assert "<script>document.title" not in page
    assert page.count("&lt;script&gt;") >= 2


def test_what_utf_8_cannot_hold_becomes_a_question_mark(tmp_path, make_episode):
    page = write_comparison({"\ud800": [make_episode(answer="\ud800", think="\ud800")]}, tmp_path / "page.html")
    assert "<answer>?</answer>".replace("<", "&lt;").replace(">", "&gt;") in page.read_text(encoding="utf-8")


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no run"):
        write_comparison({}, tmp_path / "page.html")
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.browser
def test_a_browser_shows_it(runs, tmp_path, chromium):
    path = write_comparison(runs, tmp_path / "page.html")
    page = chromium.new_page()
    page.set_viewport_size({"width": 1100, "height": 800})
    page.goto(path.as_uri())
    first, second = (page.locator(".run").nth(number).bounding_box() for number in (0, 1))
    assert first["y"] == second["y"]
    assert first["x"] < second["x"]
    broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).length")
    assert broken == 0
    chosen = page.locator("button[value=second]")
    count = int(chosen.inner_text().rsplit(": ", 1)[1])
    chosen.click()
    assert page.locator("section:visible").count() == count


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off(runs, tmp_path, chromium, scheme):
    path = write_comparison(runs, tmp_path / "page.html")
    page = chromium.new_page()
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.documentElement).backgroundColor]"
    )
    bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (bright[0] > bright[1]) == (scheme == "dark")


@pytest.mark.integration
def test_the_page_allows_its_own_style_and_nothing_else(tmp_path, make_episode):
    page = write_comparison({"a": [make_episode()]}, tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    script, style = (
        base64.b64encode(
            hashlib.sha256(re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1].encode()).digest()
        ).decode()
        for tag in ("script", "style")
    )
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; ")
    assert page.index("Content-Security-Policy") < page.index("<style>")
