"""Packs: episodes behind a prompt that is read once say the same as each of them alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agents.transformers.kv import own_attention  # noqa: E402
from agents.transformers.policy import VisionPolicy  # noqa: E402
from agents.transformers.sequence import TokenSequence, buckets  # noqa: E402
from deepeyes_env.images.ref import ImageRef  # noqa: E402
from trainers.grpo.packing import Pack, attention, lay_out, microbatches, pack  # noqa: E402
from trainers.tiny import BASE  # noqa: E402


@pytest.fixture(scope="module")
def policy():
    torch.set_num_threads(1)
    return VisionPolicy.load(BASE)


def picture(seed):
    return ImageRef.of(np.random.default_rng(seed).integers(0, 256, (56, 84, 3), np.uint8))


def said(policy, rng, words, image=None):
    """Tokens that the policy did not write, with an image of 3 x 2 tokens among them."""
    ids = rng.integers(10, 60, words)
    shown = [] if image is None else [policy.image_token] * 6
    return TokenSequence.context(np.array([*ids[: words // 2], *shown, *ids[words // 2 :]]), [image] if image else [])


def written(rng, words):
    return TokenSequence(rng.integers(10, 60, words), np.ones(words, bool), -np.ones(words, np.float32))


def group(policy, seed, turns):
    """Episodes with one prompt; ``turns`` gives the number of messages of each."""
    rng = np.random.default_rng(seed)
    prompt = said(policy, rng, 8, picture(seed))
    episodes = []
    for number, messages in enumerate(turns):
        parts = [prompt, written(rng, 3 + number % 3)]
        for turn in range(1, messages):
            parts += [said(policy, rng, 4, picture(100 * seed + 10 * number + turn)), written(rng, 2 + number % 4)]
        episodes.append(TokenSequence.concatenated(parts))
    return episodes


def states_alone(policy, tokens):
    """The states that the policy's tokens of an episode are drawn from, by a forward pass over it alone."""
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    seen = own_attention(torch.ones_like(ids, dtype=torch.bool))
    hidden = policy.hidden(ids, positions, seen, policy.image_features(tokens.images))
    return hidden[0, :-1][torch.from_numpy(tokens.mask[1:])]


def states_packed(policy, packs):
    laid = lay_out(policy, packs)
    features = policy.image_features([image for each in packs for image in each.images])
    hidden = policy.hidden(laid.ids, laid.positions, attention(laid.owners), features)
    assert hidden.isfinite().all()
    rows = [row for each in packs for row in each.rows]
    return laid, dict(zip(rows, hidden.flatten(0, 1)[laid.before].split(laid.counts.tolist()), strict=True))


@pytest.mark.parametrize("longest", [1, 45, 10_000])
def test_states_and_gradients_are_those_of_each_episode_alone(policy, longest):
    episodes = dict(enumerate([*group(policy, 1, [1, 2, 3, 1]), *group(policy, 2, [2, 1])]))
    packs = pack(policy, episodes, longest)
    assert (len(packs) == 2) == (longest == 10_000)
    weights = [weight for weight in policy.model.parameters() if weight.requires_grad]

    def gradients(states):
        policy.model.zero_grad(set_to_none=True)
        sum(state.sin().sum() for state in states.values()).backward()
        found = [weight.grad.clone() for weight in weights]
        policy.model.zero_grad(set_to_none=True)
        return found

    laid, packed = states_packed(policy, packs)
    alone = {row: states_alone(policy, tokens) for row, tokens in episodes.items()}
    assert packed.keys() == alone.keys()
    for row, tokens in episodes.items():
        assert torch.allclose(packed[row], alone[row], atol=2e-5), row
        assert len(packed[row]) == tokens.mask.sum()
    drawn = laid.ids.flatten()[laid.drawn].split(laid.counts.tolist())
    for row, ids in zip((row for each in packs for row in each.rows), drawn, strict=True):
        assert ids.tolist() == episodes[row].ids[episodes[row].mask].tolist()
    for ours, theirs in zip(gradients(packed), gradients(alone), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 200))
def test_packs_hold_every_episode_once_and_are_not_too_long(policy, groups, longest):
    sequences = [tokens for seed, turns in enumerate(groups) for tokens in group(policy, seed, turns)]
    episodes = {7 + number: tokens for number, tokens in enumerate(sequences)}
    packs = pack(policy, episodes, longest)
    assert sorted(row for each in packs for row in each.rows) == sorted(episodes)
    for each in packs:
        assert len(each) <= longest or len(each.rows) == 1
        for row, rest in zip(each.rows, each.rests, strict=True):
            whole = TokenSequence.concatenated([each.prompt, rest])
            assert np.array_equal(whole.ids, episodes[row].ids)
            assert np.array_equal(whole.mask, episodes[row].mask)
            assert [id(image) for image in whole.images] == [id(image) for image in episodes[row].images]


def test_equal_words_about_different_images_are_different_prompts(policy):
    one, other = group(policy, 3, [1])[0], group(policy, 3, [1])[0]
    assert np.array_equal(one.ids, other.ids)
    assert one.images[0] is not other.images[0]
    assert len(pack(policy, {0: one, 1: other}, 10_000)) == 2


def test_an_episode_sees_the_prompt_and_itself():
    seen = attention(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0]
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 1],
    ]


def lengths_as_packs(lengths):
    return [Pack((row,), TokenSequence.context(np.arange(length)), ()) for row, length in enumerate(lengths)]


lengths = st.lists(st.integers(2, 50), min_size=1, max_size=12)


@given(lengths, st.integers(1, 80))
def test_micro_batches_hold_every_pack_once_and_fit(sizes, most):
    pieces = list(microbatches(lengths_as_packs(sizes), most))
    assert [row for piece in pieces for each in piece for row in each.rows] == list(range(len(sizes)))
    assert all(sum(map(len, piece)) <= most or len(piece) == 1 for piece in pieces)


@given(lengths)
def test_buckets_hold_everything_once_and_like_lengths(sizes):
    divided = buckets(range(len(sizes)), sizes.__getitem__)
    assert sorted(row for bucket in divided for row in bucket) == list(range(len(sizes)))
    assert all(max(sizes[r] for r in bucket) <= 1.35 * min(sizes[r] for r in bucket) for bucket in divided)
