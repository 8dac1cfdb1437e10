"""evaluate: what is asked, and how a run is resumed."""

import json
from dataclasses import replace

import pytest

from deepeyes_env import agents
from deepeyes_env.agents.evaluation import Scoring, compare, evaluate, open_run, rescore
from deepeyes_env.agents.evaluation.clock import SECONDS
from deepeyes_env.agents.evaluation.plan import WITHOUT_TOOLS, Plan
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.trajectories import read_trajectories
from tests.agents.evaluation.small_evaluations import RULES, Away, Spy, run, samples

# --- what is asked -------------------------------------------------------------------------------------------------


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
            for tool in condition["tools"].values():
                del tool["seconds"], tool["total_seconds"]
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


# --- resuming ------------------------------------------------------------------------------------------------------


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
    taking = {"episodes": 2, "out": out, "if_exists": "overwrite", "progress": False}
    with pytest.raises(FileExistsError, match="holds notes.txt, which no run"):
        agents.rollout("VisualToolbox-v2", "blind", **taking)
    assert {*left, "notes.txt"} < {path.name for path in out.iterdir()}
    (out / "notes.txt").unlink()
    agents.rollout("VisualToolbox-v2", "blind", **taking)
    assert not left & {path.name for path in out.iterdir()}
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
