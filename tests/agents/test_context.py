"""Model context: how many tokens a conversation is, and what is left of it within a budget."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Sample, VisualToolboxEnv
from deepeyes_env.agents.agent import AgentError
from deepeyes_env.agents.budget import OVERFLOW_STRATEGIES
from deepeyes_env.agents.context import LEFT_OUT, Budget, ContextLog, fit_to_budget, with_context_log
from deepeyes_env.agents.families import FAMILIES
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, PolicyTokens, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.images import ops
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.views import ViewBudget


def image(width, height, seed=0):
    return ImageRef.of(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def turn(*crops, text="Here it is:"):
    results = tuple(ToolResult(ToolCall("zoom", {}), text=text, images=(crop,)) for crop in crops)
    observation = Message("\n".join(f"{text}{IMAGE_PLACEHOLDER}" for _ in crops) or "Error: no.", tuple(crops))
    return Turn("look", results=results, observation=observation)


def conversation(*turns, view=(280, 280)):
    sample = Sample(id="s", question="What is it?", answer="A", images=(image(560, 560),))
    prompt = Message(f"{IMAGE_PLACEHOLDER}\nWhat is it?", (image(*view),))
    return Trajectory(sample, prompt, system_prompt="You look.", turns=tuple(turns))


def test_an_image_costs_what_the_model_pays():
    episode = conversation(turn(image(560, 280, 1)))
    usage = fit_to_budget(episode, Budget()).log.requests[-1]
    assert usage.visual_tokens == 100 + 200
    assert usage.images == 2
    # A view that the processor would enlarge is paid for as enlarged.
    assert fit_to_budget(conversation(view=(28, 28)), Budget()).log.requests[-1].visual_tokens == 4


def test_there_is_an_entry_for_every_request():
    episode = conversation(turn(image(56, 56, 1)), turn(), turn(image(84, 56, 2), image(56, 56, 3)))
    requests = fit_to_budget(episode, Budget()).log.requests
    assert [usage.visual_tokens for usage in requests] == [100, 104, 104, 114]
    assert [usage.images for usage in requests] == [1, 2, 2, 4]
    texts = [usage.text_tokens for usage in requests]
    assert texts == sorted(set(texts))


def test_nothing_is_changed_within_the_budget():
    episode = conversation(turn(image(280, 280, 1)))
    for overflow in OVERFLOW_STRATEGIES:
        fitted = fit_to_budget(episode, Budget(max_tokens=1000, max_images=2, overflow=overflow))
        assert fitted.episode is episode
        assert not fitted.log.requests[-1].dropped


def test_refusing_says_how_much_and_what_to_do():
    episode = conversation(turn(image(280, 280, 1)), turn(image(280, 280, 2)))
    with pytest.raises(AgentError, match=r"3 images.*max_images=2.*overflow='drop' or 'shrink'"):
        fit_to_budget(episode, Budget(max_images=2))
    with pytest.raises(AgentError, match=r"300 of 3 images.*max_tokens=200"):
        fit_to_budget(episode, Budget(max_tokens=200))


def test_the_oldest_crop_is_left_out_first_and_its_place_is_marked():
    crops = [image(280, 280, seed) for seed in range(3)]
    episode = conversation(turn(crops[0]), turn(crops[1]), turn(crops[2]))
    fitted = fit_to_budget(episode, Budget(max_images=3, overflow="drop"))
    assert fitted.log.requests[-1].dropped == (1,)
    first, second, third = fitted.episode.turns
    assert first.observation.images == ()
    assert first.results[0].images == ()
    assert first.observation.text == f"Here it is:{LEFT_OUT}"
    assert first.results[0].text.endswith(LEFT_OUT)
    assert second == episode.turns[1]
    assert third == episode.turns[2]
    assert fitted.episode.prompt is episode.prompt


def test_of_several_crops_in_a_turn_the_right_one_stays():
    crops = [image(280, 280, seed) for seed in range(4)]
    episode = conversation(turn(crops[0], crops[1]), turn(crops[2]), turn(crops[3]))
    fitted = fit_to_budget(episode, Budget(max_images=4, overflow="drop")).episode
    assert fitted.turns[0].observation.images == (crops[1],)
    assert fitted.turns[0].observation.text == f"Here it is:{LEFT_OUT}\nHere it is:{IMAGE_PLACEHOLDER}"
    assert [result.images for result in fitted.turns[0].results] == [(), (crops[1],)]


def test_neither_the_question_nor_what_was_just_asked_for_is_left_out():
    episode = conversation(turn(image(280, 280, 1)), turn(image(280, 280, 2)))
    with pytest.raises(AgentError, match="smaller view budget"):
        fit_to_budget(episode, Budget(max_images=1, overflow="drop"))
    with pytest.raises(AgentError, match="max_tokens=150"):
        fit_to_budget(episode, Budget(max_tokens=150, overflow="drop"))


def test_shrinking_keeps_all_crops_and_shrinks_no_more_than_needed():
    crops = [image(560, 560, 1), image(280, 280, 2)]
    episode = conversation(turn(crops[0]), turn(crops[1]))
    fitted = fit_to_budget(episode, Budget(max_tokens=450, overflow="shrink"))
    usage = fitted.log.requests[-1]
    assert usage.images == 3
    assert usage.tokens <= 450
    assert not usage.dropped
    (small,) = fitted.episode.turns[0].observation.images
    assert usage.shrunk == ((1, *small.size),)
    assert small.size < (560, 560)
    assert small.size[0] % 28 == 0
    assert fitted.episode.turns[1].observation.images == (crops[1],)
    assert np.array_equal(small.pixels(), ops.fit(crops[0].pixels(), small.size))
    assert fitted.episode.turns[0].results[0].images == (small,)
    again = fit_to_budget(episode, Budget(max_tokens=450, overflow="shrink")).episode.turns[0].observation.images[0]
    assert again.digest == small.digest, "servers and caches know an image by its name"


def test_shrinking_leaves_out_what_does_not_fit_however_small():
    episode = conversation(*(turn(image(280, 280, seed)) for seed in range(8)))
    usage = fit_to_budget(episode, Budget(max_tokens=340, overflow="shrink")).log.requests[-1]
    assert usage.dropped
    assert usage.tokens <= 340
    assert usage.dropped == tuple(range(1, 1 + len(usage.dropped)))


def test_shrinking_stops_where_the_server_would_enlarge_again():
    family = FAMILIES["qwen3_vl"]
    episode = conversation(*(turn(image(512, 512, seed)) for seed in range(3)), view=(256, 256))
    fitted = fit_to_budget(episode, Budget(max_tokens=310, overflow="shrink", family=family))
    usage = fitted.log.requests[-1]
    assert usage.dropped
    assert usage.tokens <= 310
    shown = [crop for each in fitted.episode.turns for crop in each.observation.images]
    assert all(crop.size[0] * crop.size[1] >= family.view.min_pixels for crop in shown)


def test_what_is_left_after_dropping_is_as_large_as_it_may_be():
    episode = conversation(turn(image(560, 560, 1)), turn(image(560, 560, 2)))
    both = fit_to_budget(episode, Budget(max_tokens=190, overflow="shrink")).log.requests[-1]
    assert both.shrunk == ((1, 112, 112), (2, 112, 112))
    one = fit_to_budget(episode, Budget(max_tokens=both.tokens - 1, overflow="shrink")).log.requests[-1]
    assert one.dropped == (1,)
    assert one.shrunk > ((2, 112, 112),)


def test_a_crop_that_costs_less_than_the_note_in_its_place_stays():
    episode = conversation(turn(image(56, 56, 1)), turn(image(280, 280, 2)), turn())
    budget = Budget(max_tokens=220, overflow="drop", count_tokens=len)
    with pytest.raises(AgentError):
        fit_to_budget(episode, budget)
    requests = ContextLog.from_json(with_context_log(episode.extended(turn()), budget).metadata["context_log"]).requests
    assert requests[-1].dropped == (2,)


def test_tokens_that_travel_beside_the_messages_count():
    episode = conversation()
    bare, loaded = (fit_to_budget(episode, Budget(), overhead).log.requests[-1].tokens for overhead in (0, 70))
    assert loaded == bare + 70


def test_a_message_with_known_tokens_costs_these():
    sampled = Turn("a b c d e f", observation=Message("no"), tokens=PolicyTokens((1, 2, 3)))
    short, long = (
        fit_to_budget(conversation(each), Budget()).log.requests for each in (sampled, Turn("a b c d e f" * 9))
    )
    assert short[1].text_tokens < long[1].text_tokens


def test_the_context_log_survives_a_file():
    episode = conversation(turn(image(560, 560, 1)), turn(image(280, 280, 2)))
    log = fit_to_budget(episode, Budget(max_tokens=300, max_images=2, overflow="shrink")).log
    assert log.requests[-1].dropped
    assert not log.requests[0].dropped
    assert ContextLog.from_json(json.loads(json.dumps(log.as_json()))) == log


def test_a_finished_episode_carries_an_entry_for_each_turn():
    env = VisualToolboxEnv(rubric=None)
    env.reset(seed=0)
    *_, info = env.step(
        '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [9, 9, 99, 99]}}</tool_call>'
    )
    running = env.trajectory
    *_, info = env.step("<answer>A</answer>")
    budget = Budget(max_images=2, overflow="drop")
    log = ContextLog.from_json(with_context_log(info["trajectory"], budget).metadata["context_log"])
    assert log == fit_to_budget(running, budget).log
    assert len(log.requests) == 2
    assert log.requests[1].images == 2


@pytest.mark.parametrize("wrong", [{"max_images": 0}, {"max_tokens": 0}, {"overflow": "forget"}])
def test_a_wrong_budget_is_named(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=name):
        Budget(**wrong)


SIDES = st.integers(1, 12).map(lambda cells: 28 * cells)


@given(
    st.lists(st.lists(st.tuples(SIDES, SIDES), max_size=3), max_size=6),
    st.integers(120, 900),
    st.none() | st.integers(1, 8),
    st.sampled_from(["drop", "shrink"]),
)
def test_what_is_sent_fits_and_is_what_the_context_log_says(sizes, max_tokens, max_images, overflow):
    blank = {size: ImageRef.of(np.zeros((size[1], size[0], 3), np.uint8)) for turn_ in sizes for size in turn_}
    episode = conversation(*(turn(*(blank[size] for size in each)) for each in sizes))
    budget = Budget(max_tokens, max_images, overflow)
    try:
        fitted = fit_to_budget(episode, budget)
    except AgentError:
        last = sizes[-1] if sizes else []
        least = fit_to_budget(conversation(*episode.turns[-1:]), Budget()).log.requests[-1]
        assert (max_images is not None and 1 + len(last) > max_images) or least.tokens + 20 * len(sizes) > 120
        return
    usage = fitted.log.requests[-1]
    messages = [fitted.episode.prompt, *(each.observation for each in fitted.episode.turns)]
    shown = [shown for message in messages for shown in message.images]
    assert usage.images == len(shown) <= (max_images or 99)
    assert usage.tokens <= max_tokens
    assert usage.visual_tokens == sum(FAMILIES["qwen2_5_vl"].visual_tokens(each.size) for each in shown)
    for message in messages:
        assert message.text.count(IMAGE_PLACEHOLDER) == len(message.images)
    if sizes:
        assert len(fitted.episode.turns[-1].observation.images) == len(sizes[-1])


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=8), st.integers(200, 700))
def test_what_was_left_out_stays_out(sizes, max_tokens):
    episode = conversation(*(turn(ImageRef.of(np.zeros((h, w, 3), np.uint8))) for w, h in sizes))
    try:
        requests = fit_to_budget(episode, Budget(max_tokens, overflow="drop")).log.requests
    except AgentError:
        return
    for before, after in itertools.pairwise(requests):
        assert set(before.dropped) <= set(after.dropped)


def test_an_unbounded_budget_of_another_family_counts_otherwise():
    episode = conversation(view=(448, 448))
    tokens = {
        name: fit_to_budget(episode, Budget(family=FAMILIES[name])).log.requests[0].visual_tokens
        for name in ("qwen2_5_vl", "qwen3_vl", "internvl")
    }
    assert tokens == {"qwen2_5_vl": 256, "qwen3_vl": 196, "internvl": 256}
    assert ViewBudget(factor=32, min_pixels=32 * 32).visual_tokens((448, 448)) == 196
