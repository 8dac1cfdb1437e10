"""TransformersAgent: whole episodes, and that the KV cache kept over turns changes nothing but the time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env import VisualToolboxEnv  # noqa: E402
from deepeyes_env.agents import Episode, OracleAgent, play  # noqa: E402
from deepeyes_env.agents.agent import Agent, AgentError  # noqa: E402
from deepeyes_env.agents.budget import Budget, ContextLog  # noqa: E402
from deepeyes_env.agents.transformers.agent import TransformersAgent  # noqa: E402
from deepeyes_env.agents.transformers.attention import MaskedAttention  # noqa: E402
from deepeyes_env.agents.transformers.generator import Sampling  # noqa: E402
from deepeyes_env.agents.transformers.kv import causal_mask  # noqa: E402
from deepeyes_env.core import Turn  # noqa: E402
from deepeyes_env.data.visual_search import pattern_search  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402

SAMPLING = Sampling(temperature=1.0, max_new_tokens=64)


@pytest.fixture(scope="module")
def tiny():
    from deepeyes_env.agents.transformers.policy import VisionPolicy

    torch.set_num_threads(1)
    return VisionPolicy.load(BASE)


def agent_of(policy, **kwargs):
    return TransformersAgent(policy, **{"sampling": SAMPLING, **kwargs})


def environment(**kwargs):
    return VisualToolboxEnv(dataset=pattern_search("test", length=50), rubric=None, max_turns=4, **kwargs)


def after_zooms(number, seed=0):
    """A running episode in which somebody else has looked closer a few times."""
    env = environment()
    env.reset(seed=seed)
    for step in range(number):
        box = [0, 0, 40 + 8 * step, 60]
        env.step(f'<tool_call>{{"name": "image_zoom_in_tool", "arguments": {{"bbox_2d": {box}}}}}</tool_call>')
    return replace(env.trajectory, metadata={"seed": seed, "episode": seed})


def played(agent, seeds, together=True):
    """Play to the end; each episode with its own environment."""
    envs = [environment() for _ in seeds]
    running = {}
    for number, (env, seed) in enumerate(zip(envs, seeds, strict=True)):
        env.reset(seed=seed)
        running[number] = replace(env.trajectory, metadata={"seed": seed, "episode": seed})
    ended = {}
    while running:
        due = sorted(running)
        groups = [due] if together else [[number] for number in due]
        for group in groups:
            for number, reply in zip(group, agent.act([running[number] for number in group]), strict=True):
                *_, terminated, truncated, info = envs[number].step(reply.message)
                turn = replace(info["turn"], tokens=reply.tokens)
                running[number] = running[number].extended(turn)
                if terminated or truncated:
                    ended[number] = running.pop(number)
    return [ended[number] for number in sorted(ended)]


@contextmanager
def counting(policy):
    """Count the tokens that go through the language model."""
    read, hidden = [], policy.hidden
    policy.hidden = lambda ids, *args: read.append(ids.shape[1]) or hidden(ids, *args)
    try:
        yield read
    finally:
        del policy.hidden


def actions(episodes):
    return [[turn.action for turn in episode.turns] for episode in episodes]


@torch.no_grad()
def full_logprobs(policy, tokens):
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    attention = MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool)))
    hidden = policy.hidden(ids, positions, attention, policy.image_features(tokens.images))
    logprobs = torch.log_softmax(policy.logits(hidden)[0, :-1], -1)
    return logprobs.gather(1, ids[0, 1:, None])[:, 0].numpy()


@pytest.mark.integration
def test_it_is_an_agent_that_plays_in_a_vector_environment(tiny):
    agent = TransformersAgent(BASE, sampling=SAMPLING)
    assert isinstance(agent, Agent)
    assert agent.name == "base"
    env = gym.make_vec(
        "VisualToolbox-v2",
        num_envs=4,
        autoreset_mode=AutoresetMode.DISABLED,
        dataset=pattern_search("test", length=50),
        max_turns=4,
    )
    ended = list(play(env, agent, [Episode(number, number) for number in range(12)]))
    env.close()
    assert all(episode.done for episode in ended)
    assert sum(episode.stop_reason == "answer" for episode in ended) >= 10
    assert any(result.ok for episode in ended for result in episode.results), "the tiny policy zooms now and then"
    assert all(turn.tokens.ids and len(turn.tokens.ids) == len(turn.tokens.logprobs) for e in ended for turn in e.turns)


def test_logprobs_are_those_of_a_forward_pass_over_the_whole_episode(tiny):
    for episode in played(agent_of(tiny), range(6)):
        tokens = tiny.chat.sequence(episode)
        expected = full_logprobs(tiny, tokens)
        assert np.abs(expected - tokens.logprobs[1:])[tokens.mask[1:]].max() < 1e-4


@pytest.mark.integration
def test_completions_do_not_depend_on_the_rest_of_the_batch(tiny):
    together = played(agent_of(tiny), range(8))
    assert actions(together) == actions(played(agent_of(tiny), range(8), together=False))
    assert actions(together) != actions(played(agent_of(tiny, seed=1), range(8)))


def test_a_turn_prefills_only_what_is_new(tiny):
    agent = agent_of(tiny)
    first = after_zooms(1)
    with counting(tiny) as read:
        (reply,) = agent.act([first])
    written = len(reply.tokens.ids)
    prompt = read[0]
    assert read[1:] == [1] * (written - 1)
    turn = Turn(reply.message, observation=first.turns[0].observation, tokens=reply.tokens)
    with counting(tiny) as read:
        agent.act([first.extended(turn)])
    assert read[0] < prompt / 2
    with counting(tiny) as anew:
        agent_of(tiny).act([first.extended(turn)])
    assert anew[0] == prompt + written - 1 + read[0]


def test_the_kv_cache_changes_no_completion(tiny):
    class Forgetful:
        def act(self, episodes):
            return agent_of(tiny).act(episodes)

    assert actions(played(agent_of(tiny), range(8))) == actions(played(Forgetful(), range(8)))


def test_a_branch_is_prefilled_anew(tiny):
    agent = agent_of(tiny)
    first = after_zooms(1)
    (reply,) = agent.act([first])
    other = after_zooms(2)
    branch = first.extended(other.turns[1])
    assert agent.act([branch]) == agent_of(tiny).act([branch])
    assert agent.act([first]) == [reply]


def test_equal_images_sizes_are_not_mistaken_for_equal_images(tiny):
    agent = agent_of(tiny, sampling=Sampling(0.0, 64))
    running = after_zooms(1)
    (reply,) = agent.act([running])
    tokens = reply.tokens
    image = running.turns[0].observation.images[0]
    black = type(image).of(np.zeros_like(image.pixels()))
    changed = replace(running.turns[0], observation=replace(running.turns[0].observation, images=(black,)))
    turn = Turn(reply.message, observation=running.turns[0].observation, tokens=tokens)
    branch = replace(running, turns=(changed, turn))
    assert agent.act([branch]) == agent_of(tiny, sampling=Sampling(0.0, 64)).act([branch])


def test_the_same_conversation_may_be_asked_for_twice_at_once(tiny):
    agent = agent_of(tiny)
    running = after_zooms(1)
    first, second = agent.act([running, running])
    assert first == second
    extended = running.extended(Turn(first.message, observation=running.turns[0].observation, tokens=first.tokens))
    third, fourth = agent.act([extended, extended])
    assert third.message == fourth.message
    assert agent.act([]) == []


def test_the_oldest_crop_is_left_out_of_what_does_not_fit(tiny):
    running = after_zooms(3)
    agent = agent_of(tiny, budget=Budget(max_images=3, overflow="drop"))
    assert [len(images) for images in _images_read(tiny, agent, running)] == [3]
    assert [len(images) for images in _images_read(tiny, agent_of(tiny), running)] == [4]


def test_who_does_not_fit_is_given_up_and_nobody_else(tiny):
    agent = agent_of(tiny, budget=Budget(max_images=2))
    first, refused, last = agent.act([after_zooms(1), after_zooms(3), after_zooms(1, seed=1)])
    assert isinstance(refused, AgentError)
    assert "4 images" in str(refused)
    assert [first, last] == agent_of(tiny).act([after_zooms(1), after_zooms(1, seed=1)])


def _images_read(policy, agent, running):
    """Return the images that each call of the vision tower is given."""
    encoded, encode = [], policy.image_features
    policy.image_features = lambda images: encoded.append(images) or encode(images)
    try:
        agent.act([running])
    finally:
        del policy.image_features
    return encoded


def test_the_context_log_counts_what_is_prefilled(tiny):
    running = after_zooms(2)
    with counting(tiny) as read:
        agent_of(tiny).act([running])
    agent = agent_of(tiny)
    over = running.extended(Turn("<answer>A</answer>"))
    usage = ContextLog.from_json(agent.with_context_log(over).metadata["context_log"]).requests[-1]
    assert usage.visual_tokens == sum(tiny.grid(image)[0] * tiny.grid(image)[1] for image in _shown(running))
    assert abs(usage.tokens - read[0]) <= 0.1 * read[0], "texts are counted apart, marks by the message"


def _shown(episode):
    return [*episode.prompt.images, *(image for turn in episode.turns for image in turn.observation.images)]


def test_boxes_of_another_frame_are_refused(tiny):
    env = environment(frame="norm1000")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"'view'; give the environment frame='view'"):
        agent_of(tiny).act([env.trajectory])
    assert agent_of(tiny, frame="norm1000").act([env.trajectory])


def test_a_message_longer_than_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match=r"max_new_tokens=9999: must be less than the 4096"):
        agent_of(tiny, sampling=Sampling(0.0, 9999))


def test_it_goes_on_where_an_agent_without_tokens_stopped(tiny):
    running = after_zooms(0)
    env = environment()
    env.reset(seed=0)
    (reply,) = OracleAgent().act([running])
    *_, _info = env.step(reply.message)
    assert agent_of(tiny).act([env.trajectory])[0].tokens.ids
