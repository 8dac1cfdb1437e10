"""What does not fit into a model's context, or into the budget of an episode, is not trained on."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.generator import Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.vector import make_vector_env
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.trainers.grpo.batch import make_batch
from deepeyes_env.trainers.grpo.rollouts import EpisodeSpec, Rollouts
from deepeyes_env.trainers.tiny import BASE
from tests.trainers.grpo.small_runs import config, trained

NEW_TOKENS = 32


@pytest.fixture(scope="module")
def policy():
    return VisionPolicy.load(BASE)


def played(policy, max_tokens, backend="threads", number=12):
    """Episodes of hard questions, most of which the policy wants to look at twice or more."""
    dataset = pattern_search("test", length=number, easy=0)
    kwargs = {"dataset": dataset, "max_turns": 6, "autoreset_mode": AutoresetMode.DISABLED}
    with closing(make_vector_env(backend, "VisualToolbox-v2", number, workers=1, **kwargs)) as env:
        rollouts = Rollouts(env, Generator(policy, Sampling(1.0, NEW_TOKENS)), max_wait=1.0, max_tokens=max_tokens)
        rollouts.begin([EpisodeSpec(seed, seed, (3, seed), seed) for seed in range(number)])
        return rollouts.play()


@pytest.mark.parametrize("backend", ["threads", pytest.param("ray", marks=pytest.mark.ray)])
def test_an_episode_ends_where_another_message_might_not_fit(policy, backend):
    whole = played(policy, 4096, backend)
    longest = max(len(policy.chat.sequence(each.finished)) for each in whole)
    first = max(len(policy.chat.prompt(each.trajectory)) for each in whole)
    budget = first + NEW_TOKENS + 1
    assert longest > budget, "some episodes are longer than the budget"
    cut = played(policy, budget, backend)
    for free, bound in zip(whole, cut, strict=True):
        assert not bound.error
        episode = bound.finished
        if episode.stop_reason == "token_budget":
            assert (episode.truncated, episode.terminated, episode.answer) == (True, False, None)
            assert episode.reward_terms, "it is scored like any other"
            assert episode.turns == free.finished.turns[: len(episode.turns)]
            assert len(episode.turns) < len(free.finished.turns) or free.finished.stop_reason == "max_turns"
        else:
            assert episode.turns == free.finished.turns
        assert len(policy.chat.sequence(episode)) <= budget
    stops = {each.finished.stop_reason for each in cut}
    assert "token_budget" in stops
    batch = make_batch(policy, cut, ungrouped=True)
    assert batch.overlong.tolist() == [each.finished.stop_reason == "token_budget" for each in cut]


def test_a_prompt_that_does_not_fit_costs_its_episode_and_says_why(policy):
    prompt = {len(policy.chat.prompt(each.trajectory)) for each in played(policy, 4096, number=2)}
    for each in played(policy, min(prompt), number=2):
        assert each.finished is None
        assert f"tokens: with rollout.max_new_tokens={NEW_TOKENS} more than the {min(prompt)}" in each.error
        assert "lower env.max_pixels" in each.error


def test_a_run_whose_prompts_never_fit_ends_with_the_reason(tmp_path):
    with pytest.raises(DeepEyesError, match=r"none of the 4 held-out questions could be played: .* prompt has \d+ tok"):
        trained(tmp_path, "rollout.max_episode_tokens=40")
    with pytest.raises(DeepEyesError, match=r"no episode of the last 3 steps.* prompt has \d+ tokens"):
        trained(tmp_path, "rollout.max_episode_tokens=40", "evaluation.samples=0", "steps=5")


def test_the_context_of_the_model_bounds_a_run(tmp_path):
    from deepeyes_env.trainers.grpo.trainer import Trainer

    trainer = Trainer(config(tmp_path))
    with closing(trainer):
        assert trainer.policy.context == 4096
        trainer.policy.context = 45
        with pytest.raises(DeepEyesError, match="could be played"):
            trainer.train()


def test_a_budget_without_room_for_a_prompt_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rollout\.max_episode_tokens=32 leaves no room"):
        config(tmp_path, "rollout.max_episode_tokens=32")


def test_the_image_tokens_count(policy):
    (each,) = played(policy, 4096, number=1)
    tokens = policy.chat.prompt(each.trajectory)
    assert np.sum(tokens.ids == policy.image_token) == 16
