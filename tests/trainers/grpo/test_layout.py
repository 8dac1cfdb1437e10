"""Layouts: episodes behind a prompt that is read once say the same as each of them alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.attention import MaskedAttention  # noqa: E402
from deepeyes_env.agents.transformers.kv import own_attention  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.trainers.grpo.layout import layouts  # noqa: E402
from deepeyes_env.trainers.grpo.packing import pack  # noqa: E402
from tests.trainers.grpo.episodes import group, said, written  # noqa: E402


def longer_prompt(policy, seed, words):
    """One episode with a prompt without an image, of as many words."""
    rng = np.random.default_rng(seed)
    return [TokenSequence.concatenated([said(policy, rng, words), written(rng, 5)])]


def states_alone(policy, tokens):
    """The states that the policy's tokens of an episode are drawn from, by a forward pass over it alone."""
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    attention = MaskedAttention(own_attention(torch.ones_like(ids, dtype=torch.bool)))
    hidden = policy.hidden(ids, positions, attention, policy.image_features(tokens.images))
    return hidden[0, :-1][torch.from_numpy(tokens.mask[1:])]


def states_laid_out(policy, laid):
    """The same of the episodes of a layout, by their numbers; and the tokens."""
    hidden = policy.hidden(laid.ids, laid.positions, laid, policy.image_features(laid.images))
    assert hidden.isfinite().all()
    states, drawn = {}, {}
    sizes = [block.drawn.numel() for block in laid.blocks]
    for block, of_block in zip(laid.blocks, hidden.split(sizes), strict=True):
        table = of_block.unflatten(0, block.drawn.shape)
        for place, row in enumerate(block.rows):
            states[row] = table[place][block.taken[place]]
            drawn[row] = block.drawn[place][block.taken[place]].tolist()
    return states, drawn


@pytest.mark.parametrize("longest", [1, 45, 10_000])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_states_and_gradients_are_those_of_each_episode_alone(policy, longest, checkpointing):
    groups = [
        *(group(policy, 1, [1, 2, 3, 1]), group(policy, 2, [2, 1]), group(policy, 3, [3])),
        *(longer_prompt(policy, 4, 40), longer_prompt(policy, 5, 16)),
    ]
    episodes = {7 + number: tokens for number, tokens in enumerate(tokens for each in groups for tokens in each)}
    laid = layouts(policy, pack(policy, episodes, longest))
    assert len(laid) == 2, "a prompt much longer than the others is read in a pass of its own"
    assert any(laid_out.prompts[1] > 14 and laid_out.prompts[0] > 1 for laid_out in laid), "prompts are padded"
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]

    def gradients(states):
        policy.model.zero_grad(set_to_none=True)
        sum(state.sin().sum() for state in states.values()).backward()
        found = [weight.grad.clone() for weight in weights]
        policy.model.zero_grad(set_to_none=True)
        return found

    alone = {row: states_alone(policy, tokens) for row, tokens in episodes.items()}
    expected = gradients(alone)
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        together, drawn = {}, {}
        for each in laid:
            for found, of_layout in zip((together, drawn), states_laid_out(policy, each), strict=True):
                found.update(of_layout)
        assert together.keys() == alone.keys()
        for row, tokens in episodes.items():
            assert torch.allclose(together[row], alone[row], atol=2e-5), row
            assert drawn[row] == tokens.ids[tokens.mask].tolist()
        ours = gradients(together)
    finally:
        policy.model.gradient_checkpointing_disable()
    for mine, theirs in zip(ours, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_rest_sees_its_prompt_and_itself(policy):
    rng = np.random.default_rng(0)
    prompt = said(policy, rng, 3)
    rests = [[written(rng, 1), said(policy, rng, 1), written(rng, 1)], [written(rng, 3)]]
    episodes = {row: TokenSequence.concatenated([prompt, *parts]) for row, parts in enumerate(rests)}
    (laid,) = layouts(policy, pack(policy, episodes, 100))
    (block,) = laid.blocks
    assert laid.prompts == (1, 3)
    assert block.rows == (0, 1)
    assert block.taken.tolist() == [[True, True, False], [True, True, True]]
    own = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert block.seen[:, 0].int().tolist() == [[[1, 1, 1, *row] for row in own]] * 2
    nothing, first, second = ([1, 1, 1, *row] for row in ([0, 0, 0], [1, 0, 0], [1, 1, 0]))
    assert block.seen_last[0, 0].int().tolist() == [nothing, second, nothing]
    assert block.seen_last[1, 0].int().tolist() == [nothing, first, second]
    # Prompt 0-2, rests 3-5 and 6-8: the first token of a rest is drawn from the last of the prompt.
    assert laid.before.tolist() == [2, 4, 2, 2, 6, 7]


def test_an_episode_in_which_the_policy_said_nothing_is_laid_out(policy):
    rng = np.random.default_rng(1)
    silent, talking = said(policy, rng, 9), group(policy, 6, [2])[0]
    laid = layouts(policy, pack(policy, {0: silent, 1: talking}, 100))
    states = {}
    for each in laid:
        states |= states_laid_out(policy, each)[0]
    assert len(states[0]) == 0
    assert torch.allclose(states[1], states_alone(policy, talking), atol=2e-5)
