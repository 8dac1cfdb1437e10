"""The tiny policy for two images: what its examples say, and what it begins as."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import gymnasium as gym  # noqa: E402

from deepeyes_env.agents.transformers.policy import VisionPolicy  # noqa: E402
from deepeyes_env.data.visual_search import pattern_pairs  # noqa: E402
from deepeyes_env.errors import UsageError  # noqa: E402
from deepeyes_env.trainers.tiny import BASE  # noqa: E402
from deepeyes_env.trainers.tiny.model import build_model  # noqa: E402
from deepeyes_env.trainers.tiny.pairs import PairWriter, begin_as, draw_pair  # noqa: E402
from deepeyes_env.trainers.tiny.phrases import phrases, zoom  # noqa: E402
from deepeyes_env.trainers.tiny.scenes import SEED, training_scenes  # noqa: E402
from deepeyes_env.trainers.tiny.task import PAIRS, tiny_task  # noqa: E402
from deepeyes_env.trainers.tiny.tokenizer import build_tokenizer  # noqa: E402


@pytest.fixture(scope="module")
def policy():
    tokenizer = build_tokenizer(phrases(PAIRS).fragments())
    return VisionPolicy(build_model(tokenizer, 0, PAIRS), tokenizer)


@pytest.fixture(scope="module")
def pairs():
    scenes = list(training_scenes(3, 12, SEED, np.random.default_rng(0), PAIRS))
    rng = np.random.default_rng(1)
    return [draw_pair(lambda: scenes[rng.integers(len(scenes))], rng) for _ in range(12)]


@pytest.fixture
def writer(policy):
    return PairWriter(policy.chat, phrases(PAIRS), np.random.default_rng(2))


def test_scenes_of_a_pair_hold_the_same_colour_and_tell_otherwise(pairs):
    for pair in pairs:
        one, other = pair.square(0), pair.square(1)
        assert one.colour == other.colour
        assert one.pattern != other.pattern
        assert pair.scenes[0].easy == pair.scenes[1].easy
    assert {pair.image for pair in pairs} == {0, 1}


def test_a_prompt_is_short_and_is_the_environments(policy):
    opening = phrases(PAIRS).opening
    assert len(policy.chat.prompt(opening)) < 110
    env = gym.make("VisualToolboxQwen3VL-v0", dataset=pattern_pairs(length=1), frame="view")
    _, info = env.reset(seed=0)
    sample = info["trajectory"].sample
    colour, image = sample.question.split()[5], int("second" in sample.question)
    asked = phrases(PAIRS).asked(colour, sample.options, sample.images, image)
    assert asked.prompt.text == info["trajectory"].prompt.text
    assert asked.sample.question == sample.question


def test_a_good_zoom_is_into_the_image_that_is_asked_for(policy, pairs, writer):
    for pair in pairs:
        text = policy.tokenizer.decode(writer.playing(pair, "good", 1.0).tokens.ids)
        square, ordinal = pair.square(pair.image), ("first", "second")[pair.image]
        named = f"{square.colour} square in the {ordinal} image"
        assert f"Which pattern is on the {named}?" in text
        assert f'"label": "{named}", "img_idx": {pair.image}, "bbox_2d": [' in text
        assert text.endswith(f"on the {square.colour} square.</think><answer>{square.pattern}</answer><|im_end|>")


def test_without_a_zoom_the_answer_names_the_image(policy, pairs, writer):
    pair = pairs[0]
    text = policy.tokenizer.decode(writer.playing(pair, "good", 0).tokens.ids)
    assert f"on the {pair.square(0).colour} square in the {('first', 'second')[pair.image]} image.</think>" in text


def test_some_bad_zooms_are_into_the_other_image_and_answer_what_is_there(policy, pairs, writer):
    looked = set()
    for pair in pairs:
        for _ in range(4):
            text = policy.tokenizer.decode(writer.playing(pair, "bad", 1.0).tokens.ids)
            image = int(text.split('"img_idx": ')[-1][0])
            looked.add(image == pair.image)
            assert text.endswith(f"<answer>{pair.square(image).pattern}</answer><|im_end|>")
    assert looked == {True, False}


def test_a_name_points_into_its_image_and_a_colour_alone_into_the_crop(policy, pairs, writer):
    for pair in pairs[:4]:
        example = writer.playing(pair, "good", 1.0)
        cells = np.flatnonzero(example.tokens.ids == policy.image_token)
        shown = [np.isin(cells, pointer.shown).nonzero()[0] for pointer in example.pointers]
        asked, called, *answered = shown
        for cell in (asked, called):
            assert {pair.image} == set((cell // 16).tolist())
        assert all((cell >= 32).all() for cell in answered)


def test_boxes_are_asked_for_by_image(policy, pairs, writer):
    example = writer.grounding(pairs[0])
    text = policy.tokenizer.decode(example.tokens.ids[example.tokens.mask])
    calls = text.split("<|im_end|>")[:-1]
    assert len(calls) == 3
    for call in calls:
        colour, image = call.split('"label": "')[1].split()[0], int(call.split('"img_idx": ')[1][0])
        (square,) = (square for square in pairs[0].scenes[image].view.squares if square.colour == colour)
        assert call.endswith(f"[{', '.join(PAIRS.written(square.box))}]}}}}")


def test_the_environment_zooms_into_the_image_that_a_call_names():
    env = gym.make("VisualToolboxQwen3VL-v0", dataset=pattern_pairs(length=1), frame="view")
    env.reset(seed=0)
    env.step(zoom("red", (10, 10, 60, 60), PAIRS, 1))
    (result,) = env.unwrapped.trajectory.results
    assert result.origin.regions[0].image == 1


def test_it_begins_as_the_shipped_policy(policy):
    shipped = VisionPolicy.load(BASE)
    begin_as(policy, shipped, PAIRS)
    words, others = (each.model.get_input_embeddings().weight for each in (policy, shipped))
    ids, known = policy.tokenizer.get_vocab(), shipped.tokenizer.get_vocab()
    assert torch.equal(words[ids["red"]], others[known["red"]])
    own = policy.tokenizer("red square in the second image").input_ids
    assert len(own) == 1
    assert torch.nn.functional.cosine_similarity(words[own[0]], others[known["red"]], 0) > 0.4
    layers = [each.model.model.language_model.layers for each in (policy, shipped)]
    assert torch.equal(layers[0][1].mlp.up_proj.weight, layers[1][1].mlp.up_proj.weight)


def test_other_families_are_refused():
    with pytest.raises(UsageError, match="only qwen2_5_vl is built for it"):
        tiny_task("qwen3_vl", "pattern_pairs")
    with pytest.raises(UsageError, match="pattern_pairs"):
        tiny_task("qwen2_5_vl", "pattern_pair")
