"""Generator: what it samples, and that prefill and decoding equal a full forward pass."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from deepeyes_env.agents.transformers.attention import MaskedAttention  # noqa: E402
from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling  # noqa: E402
from deepeyes_env.agents.transformers.kv import causal_mask  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.core import Message, Sample, Trajectory  # noqa: E402
from deepeyes_env.images.ref import ImageRef  # noqa: E402

SIZES = [(56, 84), (112, 56), (84, 84)]


def picture(size, seed=0):
    width, height = size
    return ImageRef.of(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def prompt(policy, number):
    image = picture(SIZES[number % 3], number)
    question = Message(f"<image>Question {'?' * number}", (image,))
    return policy.chat.prompt(Trajectory(Sample("s", "Question?", "A", (image,)), question))


def observation(policy, number, last):
    if number % 3 == 2:
        return policy.chat.observation(Message("Error: no such box."), last)
    return policy.chat.observation(Message("<image>", (picture(SIZES[number % 2], 10 + number),)), last)


def play(policy, numbers, *, turns=3, together=True, shared_prompt=False, temperature=1.0, max_new_tokens=12):
    """Play conversations for some turns, in one decode batch a turn or one after another; returns their sequences."""
    generator = Generator(policy, Sampling(temperature, max_new_tokens))
    parts = {number: [prompt(policy, 0 if shared_prompt else number)] for number in numbers}
    begun = {
        number: CachedConversation((5, number), parts[number][0], prompt_key="same" if shared_prompt else None)
        for number in numbers
    }
    by_id = {id(conversation): number for number, conversation in begun.items()}

    def on_finished(conversation, tokens):
        number = by_id[id(conversation)]
        parts[number].append(
            TokenSequence(
                np.array(tokens.ids), np.ones(len(tokens.ids), bool), np.array(tokens.logprobs, np.float32)
            )
        )  # fmt: skip

    for turn in range(turns):
        batches = [list(begun.values())] if together else [[conversation] for conversation in begun.values()]
        for batch in batches:
            generator.generate(batch, on_finished)
        if turn + 1 < turns:
            for number, conversation in begun.items():
                answer = observation(policy, number + turn, parts[number][-1].ids[-1])
                parts[number].append(answer)
                conversation.append(answer)
    return [TokenSequence.concatenated(parts[number]) for number in numbers]


@torch.no_grad()
def full_logprobs(policy, tokens):
    """Log-probabilities of all tokens but the first by one forward pass over the whole sequence."""
    ids = torch.from_numpy(tokens.ids)[None]
    positions = torch.from_numpy(policy.positions(tokens)[0])[:, None]
    features = policy.image_features(tokens.images)
    hidden = policy.hidden(
        ids, positions, MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool))), features
    )
    logprobs = torch.log_softmax(policy.logits(hidden)[0, :-1], -1)
    return logprobs.gather(1, ids[0, 1:, None])[:, 0].numpy()


@torch.no_grad()
def test_a_forward_pass_is_that_of_transformers(policy):
    from deepeyes_env.agents.transformers.pixels import patches

    tokens = play(policy, [1])[0]
    ids = torch.from_numpy(tokens.ids)[None]
    grid = torch.tensor([[1, 2 * image.size[1] // 28, 2 * image.size[0] // 28] for image in tokens.images])
    theirs = policy.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=patches([image.pixels() for image in tokens.images], 14, 2, frames=2),
        image_grid_thw=grid,
        mm_token_type_ids=(ids == policy.image_token).int(),
    ).logits
    banned = policy.logits(torch.zeros(policy.model.config.text_config.hidden_size))  # all but the mask is 0
    expected = torch.log_softmax(theirs[0, :-1] + banned, -1).gather(1, ids[0, 1:, None])[:, 0]
    sampled = tokens.mask[1:]
    assert np.allclose(full_logprobs(policy, tokens)[sampled], expected.numpy()[sampled], atol=2e-4)


@pytest.mark.parametrize("shared_prompt", [False, True])
def test_log_probabilities_at_sampling_are_those_of_a_full_forward_pass(policy, shared_prompt):
    for tokens in play(policy, range(7), shared_prompt=shared_prompt):
        expected = full_logprobs(policy, tokens)[tokens.mask[1:]]
        assert np.allclose(tokens.logprobs[tokens.mask], expected, atol=2e-4)


@pytest.mark.integration
def test_what_is_sampled_does_not_depend_on_who_else_is_there(policy):
    together = play(policy, range(6))
    for other in (play(policy, range(6), together=False), [play(policy, [number])[0] for number in range(6)]):
        assert all(np.array_equal(a.ids, b.ids) for a, b in zip(together, other, strict=True))
    shared = play(policy, range(6), shared_prompt=True)
    assert all(
        np.array_equal(a.ids, b.ids)
        for a, b in zip(shared, play(policy, range(6), shared_prompt=True, together=False), strict=True)
    )


def test_conversations_with_one_prompt_differ_by_their_seeds(policy):
    sequences = play(policy, range(6), shared_prompt=True, turns=1)
    assert len({tuple(tokens.ids) for tokens in sequences}) == 6


def test_greedy_messages_are_the_likeliest(policy):
    tokens = play(policy, [0, 1], temperature=0, turns=2)
    for sequence in tokens:
        for position in np.flatnonzero(sequence.mask):
            head = TokenSequence(sequence.ids[:position], sequence.mask[:position], sequence.logprobs[:position])
            shown = int((head.ids == policy.image_token).sum())
            images, count = [], 0
            for image in sequence.images:
                if count < shown:
                    images.append(image)
                    count += policy.grid(image)[0] * policy.grid(image)[1]
            head = TokenSequence(head.ids, head.mask, head.logprobs, tuple(images))
            ids = torch.from_numpy(head.ids)[None]
            with torch.no_grad():
                hidden = policy.hidden(
                    ids,
                    torch.from_numpy(policy.positions(head)[0])[:, None],
                    MaskedAttention(causal_mask(torch.ones_like(ids, dtype=torch.bool))),
                    policy.image_features(head.images),
                )
                assert int(policy.logits(hidden)[0, -1].argmax()) == sequence.ids[position]


@pytest.mark.integration
def test_frequencies_are_the_probabilities(policy):
    tokens = prompt(policy, 0)
    generator, first = Generator(policy, Sampling(1.0, 1)), []
    batch = [CachedConversation((number,), tokens, prompt_key="same") for number in range(4000)]
    generator.generate(batch, lambda _, completion: first.append(completion))
    probabilities = {completion.ids[0]: np.exp(completion.logprobs[0]) for completion in first}
    likeliest = max(probabilities, key=lambda token: probabilities[token])
    expected = probabilities[likeliest]
    share = np.mean([completion.ids[0] == likeliest for completion in first])
    assert abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / 4000)


def test_special_tokens_are_never_written(policy):
    special = {token for token, added in policy.tokenizer.added_tokens_decoder.items() if added.special}
    written = {
        int(token)
        for tokens in play(policy, range(20), max_new_tokens=40, turns=1)
        for token in tokens.ids[tokens.mask]
    }
    assert written & special <= policy.stops
    assert max(written) < len(policy.tokenizer)


def test_messages_come_as_they_are_complete_and_end_with_a_stop_or_at_the_limit(policy):
    lengths = []
    generator = Generator(policy, Sampling(1.0, 30))
    batch = [CachedConversation((number,), prompt(policy, number)) for number in range(40)]
    generator.generate(
        batch, lambda _, completion: lengths.append((len(completion.ids), completion.ids[-1] in policy.stops))
    )
    assert len(lengths) == 40
    assert [length for length, _ in lengths] == sorted(length for length, _ in lengths)
    assert all(stopped or length == 30 for length, stopped in lengths)


@pytest.mark.integration
def test_the_kv_cache_of_a_finished_conversation_is_freed(policy):
    import gc
    import weakref

    generator = Generator(policy, Sampling(1.0, 4))
    conversation = CachedConversation((0,), prompt(policy, 0))
    generator.generate([conversation], lambda *_: None)
    cache = weakref.ref(conversation.cached.cache)
    del conversation
    gc.collect()
    assert cache() is None
