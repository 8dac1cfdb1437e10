"""Layouts: episodes that share the KV cache of their prompt have the hidden states of each of them alone."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.trainers.grpo.layout import layouts  # noqa: E402
from deepeyes_env.trainers.grpo.packing import pack  # noqa: E402
from tests.trainers.grpo.episodes import context, group, sampled, states_alone  # noqa: E402


def longer_prompt(policy, seed, words):
    """One episode with a prompt without an image, of as many words."""
    rng = np.random.default_rng(seed)
    return [TokenSequence.concatenated([context(policy, rng, words), sampled(rng, 5)])]


def states_laid_out(policy, laid):
    """The same of the episodes of a layout, by their numbers; and the tokens."""
    hidden = policy.hidden(laid.ids, laid.positions, laid, policy.image_features(laid.images))
    assert hidden.isfinite().all()
    states, completion_ids = {}, {}
    sizes = [block.completion_ids.numel() for block in laid.blocks]
    for block, of_block in zip(laid.blocks, hidden.split(sizes), strict=True):
        table = of_block.unflatten(0, block.completion_ids.shape)
        for number, row in enumerate(block.rows):
            mask = block.completion_mask[number]
            states[row] = table[number][mask]
            completion_ids[row] = block.completion_ids[number][mask].tolist()
    return states, completion_ids


@pytest.mark.parametrize("longest", [1, 45, 10_000])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_states_and_gradients_are_those_of_each_episode_alone(policy, longest, checkpointing):
    groups = [
        *(group(policy, 1, [1, 2, 3, 1]), group(policy, 2, [2, 1]), group(policy, 3, [3])),
        *(longer_prompt(policy, 4, 40), longer_prompt(policy, 5, 16)),
    ]
    episodes = {7 + number: tokens for number, tokens in enumerate(tokens for each in groups for tokens in each)}
    laid = layouts(policy, pack(policy, episodes, longest))
    assert len(laid) == 2, "a prompt much longer than the others goes through the model in a pass of its own"
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
        together, completion_ids = {}, {}
        for each in laid:
            for found, of_layout in zip((together, completion_ids), states_laid_out(policy, each), strict=True):
                found.update(of_layout)
        assert together.keys() == alone.keys()
        for row, tokens in episodes.items():
            assert torch.allclose(together[row], alone[row], atol=2e-5), row
            assert completion_ids[row] == tokens.ids[tokens.mask].tolist()
        ours = gradients(together)
    finally:
        policy.model.gradient_checkpointing_disable()
    for mine, theirs in zip(ours, expected, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_a_completion_attends_to_its_prompt_and_itself(policy):
    rng = np.random.default_rng(0)
    prompt = context(policy, rng, 3)
    completions = [[sampled(rng, 1), context(policy, rng, 1), sampled(rng, 1)], [sampled(rng, 3)]]
    episodes = {row: TokenSequence.concatenated([prompt, *parts]) for row, parts in enumerate(completions)}
    (laid,) = layouts(policy, pack(policy, episodes, 100))
    (block,) = laid.blocks
    assert laid.prompts == (1, 3)
    assert block.rows == (0, 1)
    assert block.completion_mask.tolist() == [[True, True, False], [True, True, True]]
    own = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert block.attention_mask[:, 0].int().tolist() == [[[1, 1, 1, *row] for row in own]] * 2
    nothing, first, second = ([1, 1, 1, *row] for row in ([0, 0, 0], [1, 0, 0], [1, 1, 0]))
    assert block.output_mask[0, 0].int().tolist() == [nothing, second, nothing]
    assert block.output_mask[1, 0].int().tolist() == [nothing, first, second]
    # Prompt 0-2, completions 3-5 and 6-8: the first token of a completion is sampled from the last of the prompt.
    assert laid.output_positions.tolist() == [2, 4, 2, 2, 6, 7]


def test_an_episode_without_policy_tokens_is_laid_out(policy):
    rng = np.random.default_rng(1)
    silent, talking = context(policy, rng, 9), group(policy, 6, [2])[0]
    laid = layouts(policy, pack(policy, {0: silent, 1: talking}, 100))
    states = {}
    for each in laid:
        states |= states_laid_out(policy, each)[0]
    assert len(states[0]) == 0
    assert torch.allclose(states[1], states_alone(policy, talking), atol=2e-5)
