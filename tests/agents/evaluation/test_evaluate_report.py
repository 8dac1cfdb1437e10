"""evaluate: how answers are judged, and what the report says."""

import json
import logging
from collections import Counter
from datetime import datetime

import pytest

import deepeyes_env
from deepeyes_env import Sample, agents
from deepeyes_env.agents.evaluation import Scoring, evaluate, open_run, plots, rescore
from deepeyes_env.agents.evaluation.report_text import difference
from deepeyes_env.agents.evaluation.score_file import read_scores
from deepeyes_env.data.benchmarks import Benchmark, open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.judges import RuleJudge, Verdict
from deepeyes_env.plotting import RATE
from deepeyes_env.trajectories import read_trajectories
from tests.agents.evaluation.small_evaluations import BENCHMARK, RULES, Away, Spy, run, samples
from tests.conftest import pattern

# --- judging -------------------------------------------------------------------------------------------------------


def test_a_judge_that_cannot_be_reached_is_listed_and_asked_again(tmp_path):
    away = Away("s1", "s3")
    report = run(tmp_path / "run", scoring=Scoring(away, "far"))
    assert [each.sample for each in report.unjudged] == ["s1", "s3"]
    assert "no route to host" in report.unjudged[0].error
    assert (report.conditions[0].judged, report.conditions[0].episodes) == (4, 6)
    assert report.conditions[0].accuracy.questions == 4
    assert max(away.asked.values()) == 1, "not asked twice in one run"
    back = Away()
    agent = Spy()
    report = run(tmp_path / "run", agent, scoring=Scoring(back, "far"), if_exists="resume")
    assert (agent.asked, dict(back.asked)) == ([], {"s1": 1, "s3": 1})
    assert report.complete


def test_a_run_is_judged_again_by_another_judge_and_rubric(tmp_path):
    out = tmp_path / "run"
    run(out)

    def strict(prediction, sample):
        return Verdict(0.0, "strict", "never right")

    report = rescore(out, Scoring(strict, "strict", "deepeyes"), progress=False)
    assert report.conditions[0].accuracy.value == 0
    assert report.judge == {"judge": "strict", "rubric": "deepeyes"}
    assert (out / "scores.earlier.jsonl").is_file()
    assert '"reward":0,' in (out / "data.js").read_text().replace("\\", "").replace("0.0", "0")
    assert rescore(out, RULES, progress=False).conditions[0].accuracy.value == 1
    with pytest.raises(ValueError, match="unknown rubric"):
        rescore(out, Scoring(RuleJudge(), "rules", "nonsense"), progress=False)
    with pytest.raises(DataError, match="no evaluation"):
        rescore(tmp_path, RULES)


def test_a_torn_line_of_scores_is_cut_off(tmp_path, caplog):
    out = tmp_path / "run"
    run(out)
    path = out / "scores.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-25])
    assert len(list(read_scores(out))) == 5
    with caplog.at_level(logging.WARNING):
        assert rescore(out, RULES, progress=False).complete
    assert "torn" in caplog.text
    assert sorted(path.read_bytes().splitlines()) == sorted(content.splitlines())
    path.write_bytes(b'{"scored_by": {"judge": "rules", "rubric": "accuracy"}}\n{"episode": 1}\n')
    with pytest.raises(DataError, match=r"scores\.jsonl, line 2"):
        rescore(out, RULES, progress=False)


def test_a_judge_with_a_bug_is_not_a_wrong_answer(tmp_path):
    def broken(prediction, sample):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "run", scoring=Scoring(broken, "broken"))
    assert list(read_trajectories(tmp_path / "run")), "what was played is kept"
    assert run(tmp_path / "run", if_exists="resume").complete


# --- the report ----------------------------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.usefixtures("plots")
def test_the_report_is_written_with_plots_and_page(tmp_path):
    out = tmp_path / "run"
    report = run(out, "noisy", tools="both", repeats=4)
    told = json.loads((out / "report.json").read_text())
    assert told["conditions"][0]["categories"]["skills"].keys() == {"see", "count"}
    assert told["conditions"][0]["categories"]["skills"]["count"]["questions"] == 2
    assert [at["k"] for at in told["conditions"][0]["at_k"]] == [1, 2, 4]
    text = (out / "report.md").read_text()
    assert "| see | 6 |" in text
    assert "maj@k" in text
    for name in ("accuracy", "tool_use", "repeats"):
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "index.html").is_file()
    assert report.conditions[0].failed_calls.keys() <= {"malformed", "bad_arguments"}
    at = report.conditions[0].at_k
    assert at[0].passed == pytest.approx(at[0].average)
    assert at[0].passed <= at[1].passed <= at[2].passed
    assert open_run(out).benchmark == BENCHMARK


@pytest.mark.usefixtures("plots")
def test_every_axis_is_labelled_and_rates_go_from_0_to_1(tmp_path, monkeypatch):
    figures = {}
    monkeypatch.setattr(plots, "save", lambda figure, out: figures.update({out.name: figure}) or out)
    run(tmp_path / "run", "noisy", tools="both", repeats=2)
    assert set(figures) == {"accuracy.png", "tool_use.png", "repeats.png"}
    axes = {name: figure.axes for name, figure in figures.items()}
    assert all(axis.get_title(loc="left") and axis.get_xlabel() for each in axes.values() for axis in each)
    assert all(axis.get_ylabel() and axis.get_ylim() == RATE for axis in (*axes["tool_use.png"], *axes["repeats.png"]))
    (accuracy,) = axes["accuracy.png"]
    assert accuracy.get_xlim() == RATE
    assert {text.get_text() for text in accuracy.get_legend().get_texts()} >= {"with tools", "without tools", "chance"}


def test_a_report_tells_version_date_view_and_how_the_policy_sampled(tmp_path):
    class Told(Spy):
        about = {"server": "http://127.0.0.1:8000/v1", "temperature": 0.7}  # noqa: RUF012

    out = tmp_path / "run"
    run(out, Told(), limit=2)
    begun = json.loads((out / "run.json").read_text())["about"]
    assert begun["deepeyes_env"] == deepeyes_env.__version__
    assert datetime.fromisoformat(begun["begun"]).tzinfo is not None
    text = (out / "report.md").read_text()
    for fact in ("temperature: 0.7", r"server: http\://127.0.0.1:8000/v1", f"begun: {begun['begun']}", "view: 3136 to"):
        assert fact in text
    run(out, Spy(), if_exists="resume")
    assert json.loads((out / "run.json").read_text())["about"]["begun"] == begun["begun"], "resuming keeps the date"


def test_a_difference_over_half_a_run_is_told_as_such(tmp_path):
    dataset = samples(6, broken=(3, 4, 5))
    report = run(tmp_path / "run", dataset=dataset, tools="both")
    assert report.difference is not None
    assert difference(report).startswith("so far, ")
    assert "So far, with tools minus" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.integration
@pytest.mark.usefixtures("plots")
def test_odd_names_do_no_harm(tmp_path):
    odd = [
        Sample(f"s{i}|\ud800", "?", "yes", pattern(90, 90), ("yes", "no"), metadata={"category": name})
        for i, name in enumerate(["$\\frac", "a|b", "<b>", "\ud800", "类别", "x\x00y", "n" * 500])
    ]
    report = run(tmp_path / "run", dataset=odd)
    assert report.complete
    text = (tmp_path / "run" / "report.md").read_text()
    assert "a\\|b" in text
    assert "<b>" not in text


def test_circular_accuracy(tmp_path):
    benchmark, dataset = open_benchmark("jsonl", samples(4), circular=True)
    assert len(dataset) == 12

    def first_is_right(prediction, sample):
        return Verdict(float(sample.id != "s2#1"), "test")

    scoring = Scoring(first_is_right, "test")
    report = evaluate(benchmark, dataset, agents.make_agent("blind"), scoring, out=tmp_path / "run", progress=False)
    condition = report.conditions[0]
    assert (condition.accuracy.value, condition.accuracy.questions) == (pytest.approx(11 / 12), 4)
    assert (condition.circular_accuracy.value, condition.circular_accuracy.questions) == (0.75, 4)
    some = {"limit": 8, "out": tmp_path / "some", "progress": False}
    condition = evaluate(benchmark, dataset, agents.make_agent("blind"), scoring, **some).conditions[0]
    circular = condition.circular_accuracy
    assert (circular.value, circular.questions) == (1.0, 2), "s2 was not asked in all orders"
    places = Counter(each.sample.options.index("yes") for each in read_trajectories(tmp_path / "run"))
    assert places == {0: 4, 1: 4, 2: 4}, "the environment keeps the order"


def test_yes_or_no_questions_are_measured_by_split(tmp_path):
    benchmark = Benchmark("pope", "POPE", "", "yes_no", "yes_no")
    asked = [
        Sample(f"p{i}", "Is there a dog?", "yes" if i < 3 else "no", pattern(90, 90), metadata={"category": split})
        for i, split in enumerate(["random", "popular"] * 3)
    ]

    class Says:
        name = "yes"

        def act(self, episodes):
            return [agents.Reply("<answer>Yes, there is.</answer>") for _ in episodes]

    report = evaluate(benchmark, asked, Says(), RULES, out=tmp_path / "run", progress=False)
    overall, popular = report.conditions[0].yes_no[""], report.conditions[0].yes_no["popular"]
    assert (overall.accuracy, overall.precision, overall.recall, overall.yes_ratio) == (0.5, 0.5, 1.0, 1.0)
    assert (popular.total, popular.precision) == (3, pytest.approx(1 / 3))
    assert "yes-ratio" in (tmp_path / "run" / "report.md").read_text()


def test_answers_that_are_boxes_are_measured_by_overlap(tmp_path):
    from deepeyes_env.judges import make_judge

    benchmark = Benchmark("refcoco", "refCOCO", "", "box", "box")
    asked = [Sample(f"b{i}", "Where?", "box", pattern(1000, 500), boxes=((100, 100, 300, 300),)) for i in range(2)]

    class Points:
        name = "points"

        def act(self, episodes):
            exact, off = [100, 200, 300, 600], [400, 200, 600, 600]
            return [agents.Reply(f"<answer>{exact if e.sample.id == 'b0' else off}</answer>") for e in episodes]

    scoring = Scoring(make_judge("box"), "box")
    report = evaluate(benchmark, asked, Points(), scoring, out=tmp_path / "run", frame="norm1000", progress=False)
    assert report.conditions[0].accuracy.value == 0.5
    assert report.conditions[0].answer_iou.value == pytest.approx(0.5)


@pytest.mark.integration
@pytest.mark.usefixtures("plots")
def test_boxes_that_are_asked_for_several_times_have_no_majority(tmp_path):
    from deepeyes_env.judges import make_judge

    benchmark = Benchmark("refcoco", "refCOCO", "", "box", "box")
    asked = [Sample("b0", "Where?", "box", pattern(100, 100), boxes=((10, 10, 30, 30),))]

    class Points:
        name = "points"

        def act(self, episodes):
            return [agents.Reply("<answer>[10, 10, 30, 30]</answer>") for _ in episodes]

    scoring = Scoring(make_judge("box"), "box")
    evaluate(benchmark, asked, Points(), scoring, out=tmp_path / "run", frame="native", repeats=2, progress=False)
    assert "| with tools | 2 | 100.0% | 100.0% | - | 1 |" in (tmp_path / "run" / "report.md").read_text()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["conditions"][0]["at_k"][0]["majority"] is None
    assert (tmp_path / "run" / "plots" / "repeats.png").is_file()


def test_answers_that_name_no_option_are_counted_and_the_remedy_is_told(tmp_path):
    answers = {"s0": "yes", "s1": "It is hard to say.", "s2": "yes or maybe", "s3": "no", "s4": "yes", "s5": "yes"}

    class Scripted:
        name = "scripted"

        def act(self, episodes):
            return [f"<answer>{answers[episode.sample.id]}</answer>" for episode in episodes]

    report = run(tmp_path / "run", Scripted())
    assert report.conditions[0].no_option == 2
    assert json.loads((tmp_path / "run" / "report.json").read_text())["conditions"][0]["no_option"] == 2
    text = (tmp_path / "run" / "report.md").read_text()
    assert "| answers that name no option | 2 of 6 |" in text
    assert "--judge chain" in text
