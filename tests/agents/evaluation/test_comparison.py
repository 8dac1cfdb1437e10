"""Two evaluations side by side."""

import html
import json
import logging
import re
from urllib.parse import unquote

import pytest

from deepeyes_env import Sample, agents
from deepeyes_env.agents.evaluation import Scoring, compare, evaluate
from deepeyes_env.agents.evaluation.comparison import label, markdown
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge
from tests.conftest import pattern, zoom_text

BENCHMARK = Benchmark("mine", "My benchmark", "", "choice", "rules")
IMAGE = encode(pattern(200, 160), format="png")


def samples(count=20):
    return [
        Sample(
            f"s{i}",
            f"Is <b>number</b> {i} & more?",
            "yes",
            IMAGE,
            options=("yes", "no"),
            boxes=((20, 20, 120, 100),),
            metadata={"category": "even" if i % 2 == 0 else "odd"},
        )
        for i in range(count)
    ]


class Knows:
    """Zooms once, then answers rightly what it knows."""

    def __init__(self, name, known):
        self.name, self.known = name, known

    def act(self, episodes):
        return [agents.Reply(self.message(episode)) for episode in episodes]

    def message(self, episode):
        if episode.toolbox and not episode.turns:
            return zoom_text([20, 20, 120, 100])
        said = "yes" if int(episode.sample.id[1:]) in self.known else "no"
        return f"<think><script>alert(1)</script></think><answer>{said}</answer>"


def run(out, known, name="it", dataset=None, **options):
    dataset = samples() if dataset is None else dataset
    agent = Knows(name, known)
    return evaluate(BENCHMARK, dataset, agent, Scoring(RuleJudge(), "rules"), out=out, progress=False, **options)


@pytest.fixture
def two(tmp_path):
    run(tmp_path / "weak", known=set(range(4)))
    run(tmp_path / "strong", known=set(range(1, 20)))
    return tmp_path / "weak", tmp_path / "strong"


def test_a_paired_test_over_the_questions_of_both(two):
    found = compare(*two)
    (pair,) = found.pairs
    assert (pair.first.accuracy.value, pair.second.accuracy.value) == (0.2, 0.95)
    assert (pair.test.better, pair.test.worse, pair.test.questions) == (16, 1, 20)
    assert pair.test.difference == pytest.approx(0.75)
    assert pair.test.method == "mcnemar"
    assert pair.test.p_value == pytest.approx(2 * 18 / 2**17)
    assert pair.categories["category"]["even"].questions == 10
    assert found.unmatched == 0
    folder = two[0].parent / "weak-vs-strong"
    assert json.loads((folder / "comparison.json").read_text())["pairs"][0]["test"]["better"] == 16
    text = (folder / "comparison.md").read_text()
    assert "strong minus weak: +75.0%" in text
    assert text == markdown(found)


def test_the_page_has_every_question_once_and_runs_no_script_of_a_model(two):
    page = compare(*two).page.read_text(encoding="utf-8")
    assert page.count("<details") == 20
    assert page.count('data-kind="second"') == 16
    assert page.count('data-kind="first"') == 1
    assert page.count('data-kind="both"') == 3
    assert "p = " in page, "what the paired test found"
    assert '<th scope="col">Accuracy</th>' in page
    assert "<script>alert" not in page
    assert "<b>number" not in page
    assert 'src="../strong/images/' in page


def test_a_letter_is_shown_with_the_option_that_it_names(tmp_path):
    for out in ("a", "b"):
        agent = agents.make_agent("oracle")
        evaluate(BENCHMARK, samples(3), agent, Scoring(RuleJudge(), "rules"), out=tmp_path / out, progress=False)
    page = compare(tmp_path / "a", tmp_path / "b").page.read_text(encoding="utf-8")
    cells = re.findall(r'<span class="right">\S ([^<]*)</span>', page)
    assert len(cells) == 6
    assert all(re.fullmatch(r"[AB] \(yes\)", answer) for answer in cells)


def test_the_page_finds_its_images_whatever_folders_are_called(tmp_path, monkeypatch):
    run(tmp_path / "or#1 50%", known={1}, dataset=samples(2))
    run(tmp_path / "other", known={0}, dataset=samples(2))
    monkeypatch.chdir(tmp_path / "or#1 50%")
    page = compare(".", tmp_path / "other").page
    assert page.parent.parent == tmp_path
    shown = re.findall('<img[^>]* src="([^"]+)"', page.read_text(encoding="utf-8"))
    assert shown
    assert all((page.parent / unquote(html.unescape(source))).is_file() for source in shown)
    assert not any("#" in source for source in shown)


@pytest.mark.integration
def test_conditions_are_compared_with_their_like(tmp_path):
    run(tmp_path / "a", {1, 2}, tools="both")
    run(tmp_path / "b", {2, 3}, tools="both")
    run(tmp_path / "c", {3}, tools="off")
    assert [pair.first.condition for pair in compare(tmp_path / "a", tmp_path / "b").pairs] == ["on", "off"]
    found = compare(tmp_path / "a", tmp_path / "c")
    assert [pair.first.condition for pair in found.pairs] == ["off"]
    run(tmp_path / "d", {3}, tools="on")
    found = compare(tmp_path / "d", tmp_path / "c")
    (pair,) = found.pairs
    assert (pair.first.condition, pair.second.condition) == ("on", "off")
    assert label("d", pair.first, found) == "d with tools"


@pytest.mark.integration
def test_repeats_are_compared_by_their_means(tmp_path):
    run(tmp_path / "a", set(range(5)), repeats=3)
    run(tmp_path / "b", set(range(8)), repeats=2)
    (pair,) = compare(tmp_path / "a", tmp_path / "b").pairs
    assert (pair.test.better, pair.test.worse, pair.test.questions) == (3, 0, 20)


def test_questions_of_one_run_only_are_left_out_and_counted(tmp_path, caplog):
    run(tmp_path / "a", {1, 2, 15}, limit=10)
    run(tmp_path / "b", {1, 15}, seed=7)
    with caplog.at_level(logging.WARNING):
        found = compare(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    assert (found.pairs[0].test.questions, found.unmatched) == (10, 10)
    assert "differ in seed" in caplog.text
    assert (tmp_path / "out" / "comparison.html").is_file()


def test_what_cannot_be_compared_is_named(tmp_path):
    run(tmp_path / "a", {1})
    others = [Sample(f"t{i}", "?", "yes", IMAGE, options=("yes", "no")) for i in range(3)]
    with pytest.raises(DataError, match="no evaluation"):
        compare(tmp_path / "a", tmp_path / "nothing")
    agent = agents.make_agent("oracle")
    evaluate(BENCHMARK, others, agent, Scoring(RuleJudge(), "rules"), out=tmp_path / "c", progress=False)
    with pytest.raises(ValueError, match="no question of My benchmark has a verdict in both"):
        compare(tmp_path / "a", tmp_path / "c")


def test_a_comparison_is_not_written_into_a_file(two, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file' is a file; name a folder"):
        compare(*two, tmp_path / "file")


def test_runs_of_different_benchmarks_are_not_compared(tmp_path):
    run(tmp_path / "a", {1})
    agent, other = agents.make_agent("oracle"), Benchmark("other", "Other benchmark", "", "choice", "rules")
    same_ids = {"out": tmp_path / "b", "progress": False}
    evaluate(other, samples(), agent, Scoring(RuleJudge(), "rules"), **same_ids)
    with pytest.raises(ValueError, match=r"a asked My benchmark \(mine\) and .*b Other benchmark \(other\)"):
        compare(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_runs_of_different_files_are_told_apart(tmp_path, caplog):
    run(tmp_path / "a", {1}, settings={"data": "a.jsonl"})
    run(tmp_path / "b", {1}, settings={"data": "b.jsonl"})
    with caplog.at_level(logging.WARNING):
        compare(tmp_path / "a", tmp_path / "b")
    assert "differ in data: 'a.jsonl' and 'b.jsonl'" in caplog.text


@pytest.mark.browser
def test_the_page_in_a_browser(two, chromium):
    path = compare(*two).page
    page = chromium.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    assert page.locator("details:visible").count() == 20
    page.click("button[value=first]")
    assert page.locator("details:visible").count() == 1
    page.click("details:visible summary")
    page.locator("details:visible img").first.scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('details[open] img').naturalWidth > 0")
    assert page.locator("details:visible rect.asked").count() == 2
    page.click("button[value='']")
    assert page.locator("details:visible").count() == 20
    page.screenshot(path=str(path.with_suffix(".png")))
    assert complaints == []
