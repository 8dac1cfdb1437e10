"""The rollout backend on a CPU: log-probabilities as verl's actor finds them, limits and bans of each request."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepeyes_env.agents.transformers.attention import MaskedAttention
from deepeyes_env.agents.transformers.kv import causal_mask
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.trainers.tiny import BASE
from deepeyes_env.trainers.verl.cpu.decoder import Decoder, Request


@pytest.fixture(scope="module")
def decoder():
    torch.set_num_threads(1)
    return Decoder.load(BASE, seed=0)


@pytest.fixture(scope="module")
def prompts(decoder):
    env = VisualToolboxEnv("VisualToolbox-v2", pattern_search("test", length=4))
    begun = [env.reset(seed=0, options={"index": number})[1]["trajectory"] for number in range(4)]
    return [decoder.policy.chat.prompt(trajectory) for trajectory in begun]


def request(prompt, **sampling):
    return Request.of(prompt.ids.tolist(), {"max_tokens": 24, **sampling}, [each.pixels() for each in prompt.images])


def all_logprobs(policy, tokens):
    """Log-probabilities of each token among the whole vocabulary, by one forward pass."""
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    attention = MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool)))
    hidden = policy.hidden(ids, positions, attention, policy.image_features(tokens.images))
    table = torch.log_softmax(policy.model.lm_head(hidden[0, :-1]).float(), -1)
    return table.gather(1, ids[0, 1:, None])[:, 0]


@torch.no_grad()
def test_logprobs_are_those_of_the_whole_vocabulary(decoder, prompts):
    for prompt, completion in zip(prompts, decoder.decode([request(each) for each in prompts]), strict=True):
        written = TokenSequence.context(np.array(completion.ids))
        whole = TokenSequence.concatenated([prompt, written])
        wanted = all_logprobs(decoder.policy, whole)[-len(written) :]
        assert torch.allclose(torch.tensor(completion.logprobs), wanted, atol=1e-4)


def test_each_request_has_its_own_limit(decoder, prompts):
    lengths = [1, 3, 24, 2]
    asked = [request(each, max_tokens=most) for each, most in zip(prompts, lengths, strict=True)]
    completions = decoder.decode(asked)
    assert [len(each.ids) for each in completions][:2] == [1, 3]
    assert all(len(each.ids) == len(each.logprobs) <= most for each, most in zip(completions, lengths, strict=True))


def test_a_banned_token_is_not_sampled(decoder, prompts):
    free = decoder.decode([request(prompts[0], temperature=0)])[0]
    banned = decoder.decode([request(prompts[0], temperature=0, logit_bias={str(free.ids[0]): -100.0})])[0]
    assert free.ids[0] not in banned.ids


def test_rollouts_of_one_prompt_differ_and_greedy_ones_do_not(decoder, prompts):
    sampled = decoder.decode([request(prompts[1]) for _ in range(16)])
    greedy = decoder.decode([request(prompts[1], temperature=0) for _ in range(4)])
    assert len({each.ids for each in sampled}) > 1
    assert len({each.ids for each in greedy}) == 1


def test_new_weights_are_taken_over(decoder, prompts):
    other = Decoder.load(BASE, seed=0)
    named = {name: torch.zeros_like(tensor) for name, tensor in other.policy.model.state_dict().items()}
    assert other.update({**named, "nobody.knows": torch.zeros(1)}) == len(named)
    completion = other.decode([request(prompts[0])])[0]
    vocabulary = other.policy.model.config.text_config.vocab_size
    assert completion.logprobs[0] == pytest.approx(-np.log(vocabulary), rel=1e-5)
