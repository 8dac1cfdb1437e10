"""Samples under conditions: what is asked, recorded and recalled."""

from collections import Counter

import pytest

from deepeyes_env.agents import make_agent
from deepeyes_env.agents.counterfactuals import last_outcomes, read_outcomes, run_conditions
from deepeyes_env.agents.counterfactuals.samples import with_regions
from deepeyes_env.errors import DataError, UnknownNameError, UsageError
from deepeyes_env.trajectories import read_trajectories
from tests.agents.evaluation.small_evaluations import RULES, Away, Scoring, Spy, samples


def ask(out, agent=None, dataset=None, **options):
    options = {"k": 2, "progress": False, **options}
    return run_conditions(
        dataset or samples(), agent or make_agent("oracle"), options.pop("scoring", RULES), out=out, **options
    )


def test_every_sample_is_asked_k_times_under_each_condition(tmp_path):
    outcomes = list(ask(tmp_path / "run"))
    asked = Counter((each.sample, each.condition) for each in outcomes)
    assert asked == {(sample, name): 2 for sample in range(6) for name in ("without", "with", "shown")}
    assert all(each.right and not each.error for each in outcomes)
    assert {each.calls for each in outcomes if each.condition == "with"} == {1}
    assert {each.calls for each in outcomes if each.condition != "with"} == {0}
    assert sorted(outcomes, key=lambda each: each.episode) == sorted(
        read_outcomes(tmp_path / "run"), key=lambda each: each.episode
    )
    shown = next(each for each in read_trajectories(tmp_path / "run") if each.metadata["condition"] == "shown")
    assert len(shown.prompt.images) == 2
    assert shown.sample.images[1].size == (110, 88)


def test_a_sample_has_one_seed_under_all_conditions_and_another_in_each_repeat(tmp_path):
    outcomes = list(ask(tmp_path / "run"))
    seeds = {(each.sample, each.repeat): each.seed for each in outcomes}
    assert all(seeds[each.sample, each.repeat] == each.seed for each in outcomes)
    assert len(set(seeds.values())) == 12


def test_a_resumed_run_asks_only_what_is_new(tmp_path):
    out, spy = tmp_path / "run", Spy("blind")
    first = list(ask(out, spy, conditions=("without",), limit=3))
    assert (len(first), len(spy.asked)) == (6, 6)
    again = list(ask(out, spy, conditions=("without", "with"), k=3, if_exists="resume"))
    assert len(again) == 2 * 3 * 6
    assert len(spy.asked) == 6 + 30
    assert {each.episode: each for each in first}.items() <= last_outcomes(out).items()
    with pytest.raises(FileExistsError, match="resume"):
        ask(out, spy)


def test_the_cost_is_told_before_anything_is_asked(tmp_path):
    told, spy = [], Spy("blind")

    def tell(cost):
        told.append((cost, len(spy.asked)))

    list(ask(tmp_path / "run", spy, tell_cost=tell))
    ((cost, asked),) = told
    assert (cost.episodes, cost.done, asked) == (36, 0, 0)
    told.clear()
    list(ask(tmp_path / "run", spy, k=3, if_exists="resume", tell_cost=tell))
    ((cost, asked),) = told
    assert (cost.episodes, cost.done, asked) == (18, 36, 36)
    assert cost.tokens > 18 * 30
    assert str(cost).startswith("18 episodes (36 more are on disk), about ")


def test_a_judge_that_was_down_costs_no_second_answer(tmp_path):
    out, spy = tmp_path / "run", Spy("oracle")
    outcomes = list(ask(out, spy, scoring=Scoring(Away("s1"), "rules"), keep_episodes=True))
    assert {each.sample_id for each in outcomes if each.error} == {"s1"}
    assert all("no route" in each.error and each.right is None for each in outcomes if each.error)
    before = len(spy.asked)
    assert all(each.right for each in ask(out, spy, if_exists="resume"))
    assert len(spy.asked) == before
    assert len(list(read_trajectories(out))) == 36


def test_what_cannot_be_asked_has_a_reason(tmp_path):
    dataset = samples(broken=(2,))
    outcomes = list(ask(tmp_path / "run", dataset=dataset, k=1))
    assert {each.sample for each in outcomes if each.error} == {2}
    assert all(each.error for each in outcomes if each.sample == 2)
    assert len(outcomes) == 18


def test_a_sample_without_a_box_cannot_be_shown():
    sample = samples()[0]
    assert with_regions(sample).question == sample.question
    with pytest.raises(DataError, match="s0"):
        with_regions(type(sample)("s0", "What?", "yes", sample.images))


def test_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="witout"):
        ask(tmp_path / "run", conditions=("witout",))
    with pytest.raises(UsageError, match="k=0"):
        ask(tmp_path / "run", k=0)
    with pytest.raises(UsageError, match="chosen"):
        ask(tmp_path / "run", chosen=[7])
