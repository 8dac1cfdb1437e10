"""Evaluations by scripted agents: what is asked, judged, resumed, judged again and reported."""

import json
import logging
from collections import Counter
from dataclasses import replace

import pytest

from deepeyes_env import Sample, agents
from deepeyes_env.agents.evaluation import Scoring, compare, evaluate, open_run, rescore
from deepeyes_env.agents.evaluation.clock import SECONDS
from deepeyes_env.agents.evaluation.plan import WITHOUT_TOOLS, Plan
from deepeyes_env.agents.evaluation.score_file import read_scores
from deepeyes_env.data.benchmarks import Benchmark, open_benchmark
from deepeyes_env.errors import DataError, JudgeError
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge, Verdict
from deepeyes_env.trajectories import read_trajectories
from tests.conftest import pattern

BENCHMARK = Benchmark("mine", "My benchmark", "", "choice", "rules", ("category", "skills"))
RULES = Scoring(RuleJudge(), "rules")


def samples(count=6, broken=()):
    images = [encode(pattern(200 + 10 * i, 160), format="png") for i in range(3)]
    return [
        Sample(
            f"s{i}",
            f"Question {i}?",
            "yes",
            images[i % 3][:80] if i in broken else images[i % 3],
            options=("yes", "no", "maybe"),
            boxes=((20, 20, 120, 100),),
            metadata={"category": "even" if i % 2 == 0 else "odd", "skills": ["see", "count"] if i < 2 else ["see"]},
        )
        for i in range(count)
    ]


class Spy:
    """Another agent, and what it was asked."""

    def __init__(self, agent="oracle", name=None):
        self.agent = agents.make_agent(agent)
        self.name = name or self.agent.name
        self.asked = []

    def act(self, episodes):
        self.asked += [(episode.sample.id, episode.toolbox, episode.metadata["seed"]) for episode in episodes]
        return self.agent.act(episodes)


class Away:
    """A judge that cannot be reached about some samples."""

    def __init__(self, *unreachable):
        self.unreachable = unreachable
        self.asked = Counter()

    def __call__(self, prediction, sample):
        self.asked[sample.id] += 1
        if sample.id in self.unreachable:
            raise JudgeError("no route to host")
        return RuleJudge()(prediction, sample)


def run(out, agent="oracle", scoring=RULES, dataset=None, **options):
    agent = agents.make_agent(agent) if isinstance(agent, str) else agent
    dataset = samples() if dataset is None else dataset
    return evaluate(BENCHMARK, dataset, agent, scoring, out=out, progress=False, **options)


# --- what is asked -----------------------------------------------------------------------------------------------


def test_every_sample_is_asked_with_and_without_tools(tmp_path):
    report = run(tmp_path / "run", tools="both")
    on, off = report.conditions
    assert (on.name, on.episodes, on.accuracy.value, on.zoom_rate) == ("on", 6, 1.0, 1.0)
    assert (off.name, off.episodes, off.accuracy.value, off.zoom_rate, off.calls) == ("off", 6, 1.0, 0.0, 0.0)
    assert (report.difference.difference, report.difference.questions) == (0.0, 6)
    assert on.zoom_iou > 0.5
    assert report.complete
    for trajectory in read_trajectories(tmp_path / "run"):
        assert bool(trajectory.toolbox) == (trajectory.metadata["episode"] % 2 == 0)
        assert (trajectory.system_prompt == WITHOUT_TOOLS) == (not trajectory.toolbox)
        assert trajectory.metadata[SECONDS] >= 0


def test_both_conditions_see_the_options_in_the_same_order_and_repeats_in_others(tmp_path):
    run(tmp_path / "run", tools="both", repeats=3)
    orders = {}
    for trajectory in read_trajectories(tmp_path / "run"):
        key = (trajectory.sample.id, trajectory.metadata["episode"] // 12)
        orders.setdefault(key, set()).add(trajectory.sample.options)
    assert len(orders) == 18
    assert all(len(each) == 1 for each in orders.values())
    assert len({next(iter(order)) for order in orders.values()}) > 1


@pytest.mark.parametrize("agent", ["noisy", "random"])
def test_the_same_seed_gives_the_same_report_whatever_runs_at_once(tmp_path, agent):
    def plain(folder, **options):
        run(tmp_path / folder, agent, repeats=2, tools="both", **options)
        told = json.loads((tmp_path / folder / "report.json").read_text())
        for condition in told["conditions"]:
            condition.pop("seconds")
        return told["conditions"], told["difference"]

    assert plain("a", seed=4, num_envs=1) == plain("b", seed=4, num_envs=5)
    assert plain("c", seed=5) != plain("a2", seed=4)


def test_a_plan_can_grow_without_renumbering():
    small, large = Plan(10, "on", 1, limit=3), Plan(10, "both", 2)
    assert {episode.number for episode in small} <= {episode.number for episode in large}
    assert {(e.number, e.seed, e.index) for e in small} <= {(e.number, e.seed, e.index) for e in large}
    assert len({episode.number for episode in large}) == len(large) == 40
    for episode in large:
        assert large.condition_of(episode.number) == ("off" if episode.index % 2 else "on")
        assert large.sample_of(episode.number) == episode.index // 2
    assert small.united(large) == large
    assert small.united(Plan(10, "off", 3, limit=5)) == Plan(10, "both", 3, limit=5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tools": "maybe"}, "tools='maybe'"),
        ({"repeats": 0}, "repeats=0"),
        ({"limit": 0}, "limit=0"),
        ({"seed": -1}, "seed=-1"),
        ({"env": "VisualToolbox-v9"}, "VisualToolbox-v9"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_benchmark_that_needs_a_tool_is_not_played_without_it(tmp_path):
    benchmark, dataset = open_benchmark("jsonl", samples(), rotated=True)
    agent = agents.make_agent("oracle")
    with pytest.raises(ValueError, match="image_rotate_tool.*VisualToolbox-v2"):
        evaluate(benchmark, dataset, agent, RULES, out=tmp_path / "run", env="VisualToolbox-v3")
    report = evaluate(benchmark, dataset, agent, RULES, out=tmp_path / "run", progress=False)
    assert report.conditions[0].zoom_iou > 0.5, "boxes turn with the image"


# --- resuming ----------------------------------------------------------------------------------------------------


def test_a_finished_run_is_resumed_without_asking(tmp_path):
    run(tmp_path / "run", "noisy")
    agent = Spy("noisy")
    first = (tmp_path / "run" / "report.json").read_bytes()
    run(tmp_path / "run", agent, if_exists="resume")
    assert agent.asked == []
    assert (tmp_path / "run" / "report.json").read_bytes() == first


def test_a_run_can_be_resumed_with_more_of_everything(tmp_path):
    run(tmp_path / "run", limit=2)
    agent = Spy()
    report = run(tmp_path / "run", agent, limit=4, tools="both", repeats=2, if_exists="resume")
    assert len(set(agent.asked)) == 4 * 2 * 2 - 2
    assert report.planned == sum(each.episodes for each in report.conditions) == 16
    smaller = run(tmp_path / "run", limit=2, if_exists="resume")
    assert (smaller.planned, smaller.missing) == (16, 0)


def test_a_run_that_grows_in_one_way_does_not_shrink_in_another(tmp_path):
    run(tmp_path / "run", limit=2, tools="both")
    agent = Spy()
    with pytest.raises(ValueError, match="--tools both, --repeats 2, --limit 2"):
        run(tmp_path / "run", agent, limit=2, tools="off", repeats=2, if_exists="resume")
    assert agent.asked == []
    report = run(tmp_path / "run", agent, limit=2, tools="both", repeats=2, if_exists="resume")
    assert report.complete
    assert report.planned == 8


@pytest.mark.parametrize(
    ("first", "then", "planned"),
    [
        ({"tools": "on"}, {"tools": "off"}, 12),
        ({}, {"limit": 6, "repeats": 2}, 12),
        ({"limit": 100, "repeats": 2}, {"limit": 50, "repeats": 2, "tools": "both"}, 24),
        ({"limit": 4}, {"limit": 2}, 4),
    ],
)
def test_a_run_goes_on_where_both_together_leave_no_gap(tmp_path, first, then, planned):
    run(tmp_path / "run", **first)
    report = run(tmp_path / "run", if_exists="resume", **then)
    assert report.complete
    assert report.planned == planned


def test_samples_with_one_id_are_two_questions(tmp_path):
    twice = [replace(sample, id=f"s{i % 3}") for i, sample in enumerate(samples())]
    report = run(tmp_path / "run", dataset=twice, repeats=2)
    assert report.conditions[0].accuracy.questions == 6
    run(tmp_path / "short", dataset=twice, limit=4)
    (pair,) = compare(tmp_path / "run", tmp_path / "short").pairs
    assert pair.test.questions == 4


def test_samples_with_one_id_are_two_questions_in_circular_accuracy_too(tmp_path):
    twice = [replace(sample, id="x", options=("yes", "no", "other"), answer="yes") for sample in samples()[:2]]
    benchmark, dataset = open_benchmark("jsonl", twice, circular=True)
    report = evaluate(benchmark, dataset, agents.make_agent("oracle"), RULES, out=tmp_path / "run", progress=False)
    assert report.conditions[0].accuracy.questions == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed was 0"),
        ({"max_turns": 3}, "max_turns"),
        ({"dataset": samples(5)}, "samples was 6"),
        ({"dataset": [replace(sample, question="Another?") for sample in samples()]}, "sample 0 was 's0', 'Question 0"),
    ],
)
def test_a_run_is_resumed_only_as_what_it_was(tmp_path, change, words):
    run(tmp_path / "run")
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "run", if_exists="resume", **change)
    with pytest.raises(FileExistsError, match="holds a run"):
        run(tmp_path / "run")
    assert run(tmp_path / "run", if_exists="overwrite", **change).complete


def test_a_resume_that_is_refused_leaves_the_list_of_failures(tmp_path):
    out = tmp_path / "run"
    run(out, dataset=samples(broken={1}), tools="on", limit=4)
    before = (out / "failures.jsonl").read_bytes()
    assert before
    with pytest.raises(ValueError, match="leave gaps"):
        run(out, dataset=samples(broken={1}), tools="both", limit=2, if_exists="resume")
    others = [replace(sample, question="Another?") for sample in samples(broken={1})]
    with pytest.raises(ValueError, match="sample 0 was"):
        run(out, dataset=others, tools="on", limit=5, if_exists="resume")
    assert (out / "failures.jsonl").read_bytes() == before
    assert open_run(out).plan.limit == 4


@pytest.mark.parametrize(("name", "frame"), [("Qwen3-VL-8B", "norm1000"), ("Qwen2.5-VL-7B", "view"), ("mine", None)])
def test_the_frame_follows_from_the_models_name(tmp_path, name, frame):
    agent = agents.make_agent("oracle")
    agent.name = name
    report = run(tmp_path / "run", agent, tools="on", limit=1)
    assert open_run(tmp_path / "run").settings.get("frame") == frame
    assert report.conditions[0].zoom_rate == 1.0
    report = run(tmp_path / "other", agent, tools="on", limit=1, frame="native")
    assert open_run(tmp_path / "other").settings["frame"] == "native"
    agent.frame = "unit"
    report = run(tmp_path / "own", agent, tools="on", limit=1)
    assert open_run(tmp_path / "own").settings["frame"] == "unit"


def test_nothing_of_an_evaluation_outlives_the_run_that_takes_its_folder(tmp_path):
    out = tmp_path / "run"
    run(out)
    rescore(out, Scoring(Away("s1"), "other"), progress=False)
    (out / "notes.txt").write_text("mine")
    (out / "plots").mkdir(exist_ok=True)
    (out / "plots" / "accuracy.png").write_bytes(b"")
    left = {"plan.json", "scores.jsonl", "scores.earlier.jsonl", "report.json", "report.md"}
    left |= {"plots", "index.html", "data.js"}
    assert left < {path.name for path in out.iterdir()}
    agents.rollout("VisualToolbox-v2", agents.make_agent("blind"), episodes=2, out=out, if_exists="overwrite")
    assert not left & {path.name for path in out.iterdir()}
    assert (out / "notes.txt").is_file()
    with pytest.raises(DataError, match="no evaluation"):
        open_run(out)


def test_samples_that_cannot_be_played_are_listed_and_the_others_played(tmp_path):
    report = run(tmp_path / "run", dataset=samples(6, broken=(1, 4)))
    assert [each.sample for each in report.failed] == ["number 1", "number 4"]
    assert (report.planned, report.conditions[0].judged, report.missing) == (6, 4, 0)
    assert not report.complete
    text = (tmp_path / "run" / "report.md").read_text()
    assert "4 of 6 episodes played and judged, 2 could not be played" in text
    assert "s4" in text
    mended = run(tmp_path / "run", dataset=samples(6), if_exists="resume")
    assert mended.complete


# --- judging -----------------------------------------------------------------------------------------------------


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


# --- the report --------------------------------------------------------------------------------------------------


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
