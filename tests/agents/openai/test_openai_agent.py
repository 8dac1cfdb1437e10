"""OpenAIAgent against a real HTTP server: dialects, stop strings, images in tool messages, tokens, context logs."""

import json
from dataclasses import replace

import pytest

from deepeyes_env import agents, protocols
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.agents.openai.reading import with_stop
from deepeyes_env.core import PolicyTokens, ToolCall
from tests.agents.openai.conftest import ZOOM
from tests.servers.faulty import FaultyServer

ANSWER = "<think>Seen.</think><answer>A</answer>"
MENTION = "<think>I could write a <tool_call> but I see it well.</think><answer>A</answer>"


def spoken(request):
    return sum(message["role"] == "assistant" for message in request["messages"])


def zoom_twice(request):
    """The answer of a model that zooms twice, in text."""
    return ANSWER if spoken(request) == 2 else f"{ZOOM}</tool_call> and then some more"


def call_twice(request):
    """The same by function calling."""
    if spoken(request) == 2:
        return "It is A."
    function = {"name": "image_zoom_in_tool", "arguments": json.dumps({"bbox_2d": [10, 10, 200, 180]})}
    call = {"id": f"call-{spoken(request)}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def rollout(server, env="VisualToolbox-v2", episodes=3, env_kwargs=None, **kwargs):
    agent = OpenAIAgent("tiny", server.url, concurrency=4, **kwargs)
    return agents.rollout(env, agent, episodes=episodes, progress=False, **(env_kwargs or {}))


def test_whole_episodes_by_text_keep_the_mark_at_which_the_server_stops():
    with FaultyServer(zoom_twice) as server:
        run = rollout(server)
    assert not run.failures
    for trajectory in run.trajectories:
        assert [turn.action for turn in trajectory.turns] == [f"{ZOOM}</tool_call>"] * 2 + [ANSWER]
        assert [result.status for result in trajectory.results] == ["ok", "ok"]
        assert trajectory.metadata["agent"] == "tiny"
    assert server.requests[0]["stop"] == ["</tool_call>", "</answer>"]
    assert len(server.requests) == 9


@pytest.mark.parametrize("tool_images", [True, False])
def test_whole_episodes_by_function_calling_wherever_images_may_stand(tool_images):
    with FaultyServer(call_twice, tool_images=tool_images) as server:
        run = rollout(server, "VisualToolboxNative-v0")
    assert not run.failures
    for trajectory in run.trajectories:
        assert [result.status for result in trajectory.results] == ["ok", "ok"]
        assert [result.call.id for result in trajectory.results] == ["call-0", "call-1"]
        assert trajectory.answer == "It is A."
    last = server.requests[-1]
    assert {tool["function"]["name"] for tool in last["tools"]} == {"image_zoom_in_tool", "image_rotate_tool"}
    assert "stop" not in last
    holders = {message["role"] for message in last["messages"] if "image_url" in json.dumps(message)}
    assert holders == ({"user", "tool"} if tool_images else {"user"})
    refused = len(server.requests) - sum(server.answered.values())
    assert refused == 0 if tool_images else 1 <= refused <= 3  # once for each that was in flight


def test_a_refusal_that_images_elsewhere_do_not_mend_is_told_as_it_was():
    def refuse(request):
        return call_twice(request)

    with FaultyServer(refuse, tool_images=False) as server:
        run = rollout(server, "VisualToolboxNative-v0", episodes=1, tool_images="tool")
    assert "image_url is only supported in user messages" in run.failures[0].error
    assert len(run.failures[0].trajectory.turns) == 1


@pytest.mark.parametrize(
    ("protocol", "stops"),
    [
        (protocols.V1, ["</tool_call>", "</answer>"]),
        (protocols.V3, ["</answer>"]),  # ``` would stop at its own beginning
        (protocols.V5, ["</answer>"]),  # the first call of a message need not be its last
        (protocols.NativeProtocol(), []),
        (protocols.PlainProtocol(), []),
    ],
)
def test_stop_strings_follow_from_the_protocol(protocol, stops):
    assert list(protocol.stop_strings) == stops


@pytest.mark.parametrize(
    ("text", "choice", "whole"),
    [
        (ZOOM, {"finish_reason": "stop"}, f"{ZOOM}</tool_call>"),
        ("<answer>A", {"finish_reason": "stop"}, "<answer>A</answer>"),
        (
            "<tool_call>{}</tool_call><answer>A",
            {"finish_reason": "stop"},
            "<tool_call>{}</tool_call><answer>A</answer>",
        ),
        (f"{ZOOM}</tool_call>", {"finish_reason": "stop"}, f"{ZOOM}</tool_call>"),
        ("Just so.", {"finish_reason": "stop"}, "Just so."),
        (ZOOM, {"finish_reason": "length"}, ZOOM),
        (ZOOM, {"finish_reason": "stop", "stop_reason": "</tool_call>"}, f"{ZOOM}</tool_call>"),
        (ZOOM, {"finish_reason": "stop", "stop_reason": None}, f"{ZOOM}</tool_call>"),  # the model ended it itself
        (ZOOM, {"finish_reason": "stop", "stop_reason": 151645}, f"{ZOOM}</tool_call>"),
        (ZOOM, {"finish_reason": "stop", "matched_stop": 151645}, f"{ZOOM}</tool_call>"),
        (ZOOM, {"finish_reason": "stop", "matched_stop": None}, f"{ZOOM}</tool_call>"),
        (ZOOM, {"finish_reason": "stop", "matched_stop": "</tool_call>"}, f"{ZOOM}</tool_call>"),
        (ZOOM, {"finish_reason": "length", "matched_stop": None}, ZOOM),
        ("<answer>A", {"finish_reason": "stop", "stop_reason": None}, "<answer>A</answer>"),
        (MENTION, {"finish_reason": "stop", "stop_reason": None}, MENTION),
        (MENTION, {"finish_reason": "stop"}, MENTION),
        ("<answer>A</answer><answer>", {"finish_reason": "stop"}, "<answer>A</answer><answer>"),
        ("<answer>A</answer> or <tool_call>", {"finish_reason": "stop"}, "<answer>A</answer> or <tool_call>"),
        ("<tool_call>{}</tool_call>, or", {"finish_reason": "stop"}, "<tool_call>{}</tool_call>, or"),
    ],
)
def test_what_a_finished_message_left_open_is_closed_whatever_the_server(text, choice, whole):
    assert with_stop(text, choice, protocols.V2) == whole


@pytest.mark.parametrize("protocol", [protocols.V1, protocols.V2, protocols.V3, protocols.V4, protocols.V5])
def test_a_call_that_ends_with_the_message_is_a_call_in_every_protocol(protocol):
    call = ToolCall("image_zoom_in_tool", {"bbox_2d": [1, 2, 30, 40]})
    written = protocol.format_call(call).removesuffix(protocol.closing)
    for choice in ({}, {"stop_reason": None}, {"matched_stop": 151645}):
        assert protocol.parse(with_stop(written, {"finish_reason": "stop"} | choice, protocol)).calls == (call,)


def test_a_thought_that_the_server_took_out_is_put_back(begin):
    choice = {"message": {"content": "<answer>A</answer>", "reasoning_content": "Hm."}}
    with FaultyServer(lambda request: choice) as server:
        reply = OpenAIAgent("tiny", server.url).act([begin()])[0]
    assert reply.message == {"role": "assistant", "content": "<answer>A</answer>", "reasoning_content": "Hm."}


@pytest.mark.parametrize("native", [False, True])
def test_a_thought_apart_is_recorded_and_not_read_as_an_answer(native):
    thought = "I could say <answer>B</answer>, or <tool_call>look</tool_call>, or <tool_call>. " + "Hm. " * 400

    def reply(request):
        if spoken(request):
            said = {"content": "<answer>A</answer>"}
        else:
            said = call_twice(request) if native else {"content": f"{ZOOM.partition('</think>')[2]}</tool_call>"}
        return {"message": {**said, "reasoning_content": thought}}

    with FaultyServer(reply) as server:
        run = rollout(server, "VisualToolboxNative-v0" if native else "VisualToolbox-v2", episodes=1)
    (episode,) = run.trajectories
    assert [result.status for result in episode.results] == ["ok"]
    assert episode.answer == "A"
    assert all(turn.action.startswith(f"<think>{thought}</think>") for turn in episode.turns)
    if native:
        (told,) = [message for message in server.requests[-1]["messages"] if message["role"] == "assistant"]
        assert thought in told["content"]
        assert len(told["tool_calls"]) == 1


def test_a_thought_apart_is_no_part_of_a_plain_answer(sample):
    with FaultyServer(lambda request: {"message": {"content": "A", "reasoning_content": "B? " * 500}}) as server:
        run = rollout(server, episodes=1, env_kwargs={"dataset": [replace(sample, env_name=None)]})
    assert run.trajectories[0].answer == "A"


@pytest.mark.parametrize(
    "logprobs", [[-1.0], {"content": [None]}, {"content": [{"logprob": None}]}, {"content": {"a": 1}}, 3, "x"]
)
def test_odd_log_probabilities_are_none(logprobs):
    choice = {"message": ANSWER, "token_ids": [1], "logprobs": logprobs}
    with FaultyServer(lambda request: choice) as server:
        run = rollout(server, episodes=1, tokens=True)
    assert run.trajectories[0].turns[0].tokens == PolicyTokens((1,), ())


@pytest.mark.parametrize("stop", [None, "X", ["X"]])
def test_stop_strings_among_further_fields_are_those_sent(stop):
    with FaultyServer(lambda request: "I would say <answer> B maybe") as server:
        agent = OpenAIAgent("tiny", server.url, extra={"stop": stop})
        run = agents.rollout("VisualToolbox-v2", agent, episodes=1, progress=False)
    assert run.trajectories[0].turns[0].action == "I would say <answer> B maybe</answer>"
    assert server.requests[0].get("stop") == stop


@pytest.mark.parametrize("key", [" ", "\n"])
def test_a_blank_key_is_none(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with FaultyServer() as server:
        run = rollout(server, episodes=1, api_key=key)
    assert not run.failures


@pytest.mark.parametrize("key", ["sk-ключ", "sk-\x00secret"])
def test_a_key_that_no_header_holds_is_refused_unseen(key):
    with pytest.raises(ValueError, match="api_key: holds characters") as refused:
        OpenAIAgent("m", api_key=key)
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:abc/v1",
        "http://",
        "http://[::1",
        "http://:80/v1",
        "http://h/v1\n",
        "http://h/\0v1",
        "http:// h",
    ],
)
def test_urls_that_lead_nowhere_are_refused_at_once(url):
    with pytest.raises(ValueError, match="has no host, a wrong port, or blanks"):
        OpenAIAgent("m", url)


def test_token_ids_and_logprobs_reach_the_turn():
    def reply(request):
        assert request["logprobs"]
        assert request["return_token_ids"]
        content = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]
        return {"message": ANSWER, "token_ids": [7, 8], "logprobs": {"content": content}}

    with FaultyServer(reply) as server:
        run = rollout(server, episodes=1, tokens=True)
        plain = rollout(server, episodes=1, extra={"logprobs": True, "return_token_ids": True})
    assert run.trajectories[0].turns[0].tokens == PolicyTokens((7, 8), (-0.5, -1.5))
    assert plain.trajectories[0].turns[0].tokens is not None


def test_a_server_without_token_ids_gives_none():
    with FaultyServer() as server:
        assert rollout(server, episodes=1, tokens=True).trajectories[0].turns[0].tokens is None


def test_what_is_asked_for():
    with FaultyServer() as server:
        rollout(server, episodes=3, seed=5, temperature=None, max_tokens=99, stop=["END"], extra={"top_p": 0.9})
    assert {request["seed"] for request in server.requests} == {5, 6, 7}
    request = server.requests[0]
    assert "temperature" not in request
    assert (request["max_tokens"], request["stop"], request["top_p"]) == (99, ["END"], 0.9)


def test_an_episode_that_outgrows_its_budget_fails_or_drops_and_every_trajectory_has_its_context_log():
    with FaultyServer(zoom_twice) as server:
        refused = rollout(server, episodes=2, budget=Budget(max_images=2))
        dropped = rollout(server, episodes=2, budget=Budget(max_images=2, overflow="drop"))
        free = rollout(server, episodes=1)
    assert len(refused.failures) == 2
    assert "max_images=2" in refused.failures[0].error
    images = [[r["images"] for r in t.metadata["context_log"]["requests"]] for t in dropped.trajectories]
    assert images == [[1, 2, 2]] * 2
    assert [r["images"] for r in free.trajectories[0].metadata["context_log"]["requests"]] == [1, 2, 3]


def test_an_ordinary_question_is_asked_without_tools_or_stop_strings(begin):
    from deepeyes_env import Sample
    from tests.conftest import pattern

    plain = Sample("p", "What is it?", "a", pattern(200, 100), env_name=None)
    with FaultyServer() as server:
        OpenAIAgent("tiny", server.url).act([begin(question=plain)])
    assert set(server.requests[0]) == {"model", "messages", "temperature", "max_tokens"}


CALL_ARGUMENTS = '{"bbox_2d": [1, 2, 60, 70]}'


def test_calls_that_a_server_takes_out_of_the_text_are_run(begin):
    call = {"id": "c1", "type": "function", "function": {"name": "image_zoom_in_tool", "arguments": CALL_ARGUMENTS}}
    with FaultyServer(lambda request: {"role": "assistant", "content": "Closer.", "tool_calls": [call]}) as server:
        episode = begin()
        (reply,) = OpenAIAgent("tiny", server.url).act([episode])
    assert reply.message == {"role": "assistant", "content": "Closer.", "tool_calls": [call]}


def test_an_error_costs_one_episode_of_those_asked_together(begin):
    with FaultyServer(faults=["500"]) as server:
        episode = begin()
        agent = OpenAIAgent("tiny", server.url, retries=0)
        replies = agent.act([episode, episode])
    assert sorted(type(reply).__name__ for reply in replies) == ["AgentError", "Reply"]
