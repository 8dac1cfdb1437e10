"""Every family that is run here: generator and learner against a plain forward pass of transformers.

A model directory with random weights plays three turns of conversations that share a prompt with two images. Its
log-probabilities are those of ``AutoModelForImageTextToText`` with the image processor of transformers, to 1e-5 in
``float32``; so are the gradients, to rounding.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import AutoModelForImageTextToText  # noqa: E402
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil  # noqa: E402

from deepeyes_env.agents.families import local_families  # noqa: E402
from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling  # noqa: E402
from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.agents.transformers.sequence import TokenSequence  # noqa: E402
from deepeyes_env.core import Message, Sample, Trajectory  # noqa: E402
from deepeyes_env.images.ref import ImageRef  # noqa: E402
from deepeyes_env.trainers.grpo.layout import layouts  # noqa: E402
from deepeyes_env.trainers.grpo.packing import pack  # noqa: E402
from deepeyes_env.trainers.grpo.scores import token_scores  # noqa: E402
from tests.small_model import PATCH, byte_tokenizer, random_model  # noqa: E402

TURNS, EPISODES = 3, 4
TOLERANCE = 1e-5
GRIDS = [(3, 2), (5, 2), (2, 4), (4, 4), (1, 6)]


def picture(factor, number):
    columns, rows = GRIDS[number % len(GRIDS)]
    return ImageRef.of(np.random.default_rng(number).integers(0, 256, (rows * factor, columns * factor, 3), np.uint8))


def played(policy):
    """Play episodes that begin with the same prompt; each is answered with images of its own, once with none."""
    images = (picture(policy.factor, 0), picture(policy.factor, 1))
    question = Message("<image>Left.<image>Which one?", images)
    prompt = policy.chat.prompt(Trajectory(Sample("s", "Which one?", "A", images), question))
    parts = {number: [prompt] for number in range(EPISODES)}
    begun = [CachedConversation((3, number), prompt, prompt_key="shared") for number in range(EPISODES)]

    def on_finished(conversation, tokens):
        ids, logprobs = np.array(tokens.ids), np.array(tokens.logprobs, np.float32)
        parts[begun.index(conversation)].append(TokenSequence(ids, np.ones(len(ids), bool), logprobs))

    generator = Generator(policy, Sampling(1.0, 10))
    for turn in range(TURNS):
        generator.generate(begun, on_finished)
        for number, conversation in enumerate(begun if turn + 1 < TURNS else []):
            image = picture(policy.factor, 2 + number + turn)
            answer = Message("Error.") if number == turn else Message("<image>Go on.", (image,))
            observation = policy.chat.observation(answer, int(parts[number][-1].ids[-1]))
            parts[number].append(observation)
            conversation.append(observation)
    return {number: TokenSequence.concatenated(each) for number, each in parts.items()}


def by_transformers(model, processor, tokens, banned, image_token):
    """Return the log-probabilities of the policy's tokens by a plain forward pass."""
    ids = torch.from_numpy(tokens.ids)[None]
    images = processor(images=[image.pixels() for image in tokens.images], return_tensors="pt")
    logits = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=images["pixel_values"],
        image_grid_thw=images["image_grid_thw"],
        mm_token_type_ids=(ids == image_token).int(),
    ).logits
    logprobs = torch.log_softmax(logits[0, :-1] + banned, -1).gather(1, ids[0, 1:, None])[:, 0]
    return logprobs[torch.from_numpy(tokens.mask[1:])]


def by_learner(policy, episodes):
    """Return the log-probabilities of the policy's tokens of each episode, as the learner has them."""
    found = {}
    for laid in layouts(policy, pack(policy, episodes, 10_000)):
        hidden = policy.hidden(laid.ids, laid.positions, laid, policy.image_features(laid.images))
        sizes = [block.completion_ids.numel() for block in laid.blocks]
        for block, states in zip(laid.blocks, hidden.split(sizes), strict=True):
            logprobs, _ = token_scores(policy, states, block.completion_ids.flatten(), 1.0)
            table = logprobs.unflatten(0, block.completion_ids.shape)
            found |= {row: table[at][block.completion_mask[at]] for at, row in enumerate(block.rows)}
    return found


def gradients(model, logprobs):
    model.zero_grad(set_to_none=True)
    torch.cat([logprobs[number] for number in sorted(logprobs)]).sum().backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.fixture(scope="module", params=list(PATCH))
def both(request, tmp_path_factory):
    """A directory of a family, loaded by us and by transformers, and episodes that were played with it."""
    torch.set_num_threads(1)
    tokenizer, folder = byte_tokenizer(), tmp_path_factory.mktemp(request.param)
    made = VisionPolicy(random_model(tokenizer, family=request.param, gain=1.0, num_hidden_layers=3), tokenizer)
    made.save(folder)
    settings = {
        "image_processor_type": "Qwen2VLImageProcessor", "patch_size": made.factor // 2, "merge_size": 2,
        "temporal_patch_size": 2, "min_pixels": 1, "max_pixels": 10**7,
        "image_mean": made.architecture.mean, "image_std": made.architecture.std,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    policy = VisionPolicy.load(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = Qwen2VLImageProcessorPil.from_pretrained(folder)
    episodes = played(policy)
    banned = policy.logits(torch.zeros(model.config.text_config.hidden_size)).detach()  # all but the mask is 0
    expected = {
        number: by_transformers(model, processor, tokens, banned, policy.image_token)
        for number, tokens in episodes.items()
    }
    return SimpleNamespace(policy=policy, model=model, processor=processor, episodes=episodes, expected=expected)


def test_every_family_is_here():
    assert set(local_families()) >= set(PATCH)


def test_log_probabilities_are_those_of_transformers(both):
    assert {len(tokens.images) for tokens in both.episodes.values()} == {3, 4}
    learned = by_learner(both.policy, both.episodes)
    for number, tokens in both.episodes.items():
        expected = both.expected[number].detach()
        sampled = torch.from_numpy(tokens.logprobs[tokens.mask])
        assert (sampled - expected).abs().max() < TOLERANCE
        assert (learned[number].detach() - expected).abs().max() < TOLERANCE


def test_images_matter(both):
    """Else log-probabilities would be equal whatever became of them."""
    tokens = both.episodes[0]
    shown = [ImageRef.of(255 - image.pixels()) for image in tokens.images]
    turned = TokenSequence(tokens.ids, tokens.mask, tokens.logprobs, tuple(shown))
    other = by_learner(both.policy, {0: turned})[0].detach()
    assert (other - both.expected[0].detach()).abs().max() > 0.05


def test_gradients_are_those_of_transformers(both):
    ours = gradients(both.policy.model, by_learner(both.policy, both.episodes))
    theirs = gradients(both.model, both.expected)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.allclose(ours[name], gradient, rtol=1e-3, atol=2e-4 * float(gradient.abs().max())), name
