"""What calls were worth: planted calls that matter, are decorative, do harm."""

from collections import Counter

import pytest

from deepeyes_env.agents import ReaderAgent, make_agent, rollout
from deepeyes_env.agents.counterfactuals import play_credit, read_outcomes
from deepeyes_env.agents.evaluation.effects import read_effects, summary_of
from deepeyes_env.agents.run_folder import CREDIT
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.errors import UnknownNameError, UsageError
from tests.agents.evaluation.small_evaluations import RULES, Spy

SCENES = VisualSearch(tasks=("attribute",), easy=0, size=(672, 672), length=20)


def played(out, looks=("elsewhere", "true"), episodes=2):
    options = {"episodes": episodes, "in_order": True, "progress": False, "dataset": SCENES}
    rollout("VisualToolbox-v2", ReaderAgent(looks=looks), out=out, **options)
    return out


def credit(out, looks=("elsewhere", "true"), agent=None, **options):
    options = {"k": 8, "progress": False, "dataset": SCENES, **options}
    return play_credit(out, agent or ReaderAgent(looks=looks), RULES, **options)


def verdicts(effects):
    return Counter((each.call, each.verdict) for calls in effects.values() for each in calls)


def test_a_look_that_was_read_mattered_and_one_elsewhere_did_not(tmp_path):
    effects = credit(played(tmp_path / "run"))
    assert verdicts(effects) == {(0, "decorative"): 2, (1, "mattered"): 2}
    assert read_effects(tmp_path / "run") == {number: tuple(calls) for number, calls in effects.items()}
    summary = summary_of(effects)
    assert (summary.calls, summary.episodes, summary.change) == (4, 2, "blank")
    assert summary.low < summary.effect < summary.high


@pytest.mark.parametrize("change", ["swapped", "moved", "dropped"])
def test_other_changes_tell_the_same_of_a_look_that_is_not_repeated(tmp_path, change):
    effects = credit(played(tmp_path / "run", episodes=1), change=change, k=6)
    expected = {(0, "decorative"): 1, (1, "decorative" if change == "dropped" else "mattered"): 1}
    assert verdicts(effects) == expected, "a reader whose look is dropped looks again"


def test_a_look_at_the_wrong_object_did_harm(tmp_path):
    looks = ("true", "other")
    effects = credit(played(tmp_path / "run", looks, episodes=2), looks)
    assert verdicts(effects)[1, "harmful"] == 2


def test_what_was_played_is_not_asked_again(tmp_path):
    out = played(tmp_path / "run", episodes=1)
    spy = Spy()
    spy.agent = ReaderAgent(looks=("elsewhere", "true"))
    first = credit(out, agent=spy)
    asked = len(spy.asked)
    assert credit(out, agent=spy) == first
    assert len(spy.asked) == asked
    assert len(list(read_outcomes(out / CREDIT))) == 2 * 2 * 8
    credit(out, agent=spy, k=9)
    assert asked < len(spy.asked) <= asked + asked // 8 + 1


def test_episodes_that_open_otherwise_are_refused(tmp_path):
    out = played(tmp_path / "run", episodes=1)
    outcomes = credit(out, view=None)
    assert outcomes == {}
    assert all("settings of its run" in each.error for each in read_outcomes(out / CREDIT))


def test_wrong_arguments_are_refused(tmp_path):
    out = played(tmp_path / "run", episodes=1)
    with pytest.raises(UnknownNameError, match="blnk"):
        credit(out, change="blnk")
    with pytest.raises(UnknownNameError, match="as_was"):
        credit(out, change="as_was")
    with pytest.raises(UsageError, match="k=0"):
        credit(out, k=0)
    with pytest.raises(UnknownNameError, match="tru"):
        ReaderAgent(looks=("tru",))
    assert make_agent("reader").looks == ("true",)
