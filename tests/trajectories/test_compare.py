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
    assert page.count("<section>") == 3
    assert page.count('class="run right"') >= 3
    assert page.count('class="truth"') >= 6
    assert page.count('class="asked"') >= 1
    assert "http://" not in page
    assert "https://" not in page


def test_samples_with_one_id_are_all_shown(runs, tmp_path):
    alike = {name: [replace(e, sample=replace(e.sample, id="x")) for e in episodes] for name, episodes in runs.items()}
    page = write_comparison(alike, tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<section>") == 3


def test_what_a_policy_writes_is_shown_and_not_run(runs, tmp_path):
    evil = "</p><script>document.title='owned'</script>"
    first = runs["blind"][0]
    attacked = replace(first, turns=(replace(first.turns[0], action=evil),))
    page = write_comparison({evil: [attacked]}, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") >= 2


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


def test_the_page_allows_its_own_style_and_nothing_else(tmp_path, make_episode):
    page = write_comparison({"a": [make_episode()]}, tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    style = hashlib.sha256(re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1].encode()).digest()
    assert policy.startswith("default-src 'none'; style-src 'sha256-" + base64.b64encode(style).decode() + "'; ")
    assert page.index("Content-Security-Policy") < page.index("<style>")
