"""The term that pays for what calls changed: it reads, and says who plays."""

from dataclasses import replace

import gymnasium as gym
import pytest

from deepeyes_env.call_effects import CallEffect, call_effects_of, with_call_effects
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.rewards import Rubric, Term, get_rubric, terms
from tests.conftest import zoom_text

RUBRIC = Rubric([Term("causal_tool", terms.causal_tool)])


def effect(call, value, low=None, high=None):
    return CallEffect(call, value, value - 0.1 if low is None else low, value + 0.1 if high is None else high, 16)


@pytest.fixture
def episode(sample):
    env = gym.make("VisualToolbox-v2", dataset=[sample], rubric=None)
    env.reset(seed=0)
    env.step(zoom_text([0, 0, 100, 100]))
    env.step(zoom_text([0, 0, 100, 100]))
    *_, info = env.step("<answer>red</answer>")
    return info["trajectory"]


@pytest.mark.parametrize(
    ("values", "worth"),
    [((0.75, 0.0), 0.75), ((0.9, 0.9), 1.0), ((-0.5, 0.25), -0.25), ((-1.0, -1.0), -1.0), ((), 0.0)],
)
def test_it_is_what_the_calls_changed_together(episode, values, worth):
    played = with_call_effects(episode, [effect(call, value) for call, value in enumerate(values)])
    assert RUBRIC(played).reward == pytest.approx(worth)
    assert call_effects_of(played)[: len(values)] == tuple(effect(call, value) for call, value in enumerate(values))


def test_without_them_it_says_who_plays(episode):
    with pytest.raises(UsageError, match="deepeyes credit RUN"):
        RUBRIC(episode)
    assert RUBRIC(replace(episode, turns=episode.turns[-1:])).reward == 0, "no call, nothing to play"
    with pytest.raises(DataError, match="damaged"):
        RUBRIC(replace(episode, metadata={"call_effects": [{"call": 0}]}))


def test_the_preset_pays_decorative_calls_nothing(episode):
    preset = get_rubric("causal_tool")
    decorative = preset(with_call_effects(episode, [effect(0, 0.0), effect(1, 0.0)]))
    useful = preset(with_call_effects(episode, [effect(0, 0.0), effect(1, 0.5)]))
    assert useful.reward - decorative.reward == pytest.approx(1.2 * 0.5)
    assert set(preset.term_names) == set(get_rubric("deepeyes").term_names)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 0.9, "mattered"), (-0.2, 0.3, "decorative"), (-0.9, -0.1, "harmful")]
)
def test_the_verdict_follows_the_interval(low, high, verdict):
    assert effect(0, (low + high) / 2, low, high).verdict == verdict
