"""Playing on from the calls of a step's episodes, and the reward that follows from it."""

import pytest

from deepeyes_env.call_effects import call_effects_of
from deepeyes_env.errors import UsageError
from tests.trainers.grpo.small_runs import RecordedRows, config, trained

ZOOMS = ("rollout.prompts=6", "rollout.group_size=8", "env.rubric=causal_tool", "credit.plays=2")


class Seen(list):
    """Is given the episodes that a step learned from."""

    def write(self, step, episodes):
        self.extend(episodes)


def seen_episodes(out, *overrides):
    """The episodes that one step learned from, and the metrics of it."""
    rows, seen = RecordedRows(), Seen()

    def watch(trainer):
        trainer.board = seen

    trained(out, *ZOOMS, *overrides, recorders=[rows], spoil=watch)
    return list(seen), rows[-1]


@pytest.mark.slow
def test_the_reward_is_what_the_calls_changed(tmp_path):
    episodes, row = seen_episodes(tmp_path, "credit.share=1")
    called = [each for each in episodes if each.results]
    assert called, "the tiny policy zooms"
    played = [each for each in called if call_effects_of(each)]
    assert played
    assert row["credit/calls"] == sum(len(call_effects_of(each)) for each in played)
    for each in episodes:
        effects = call_effects_of(each) or ()
        assert {effect.plays for effect in effects} <= {1, 2}
        worth = max(-1.0, min(1.0, sum(effect.effect for effect in effects)))
        assert each.reward_terms["tool"].raw == pytest.approx(worth)
    assert row["reward/total"] == pytest.approx(sum(each.reward for each in episodes) / len(episodes))


@pytest.mark.integration
def test_a_share_of_the_questions_is_played_on_from(tmp_path):
    episodes, row = seen_episodes(tmp_path, "credit.share=1e-9")
    assert row["credit/calls"] == 0
    assert 0 < row["time/credit"] < row["time/step"]
    assert all(each.reward_terms["tool"].raw == 0 for each in episodes)


def test_a_rubric_that_asks_for_effects_wants_some_played(tmp_path):
    with pytest.raises(UsageError, match="credit.share"):
        config(tmp_path, "env.rubric=causal_tool")
