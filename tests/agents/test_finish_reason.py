"""Why each message ended: said by every agent, recorded, counted, and told where it can be mended."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from gymnasium.vector import AutoresetMode

from deepeyes_env import agents
from deepeyes_env.agents import Episode, OracleAgent, play
from deepeyes_env.agents.finish_reason import finish_reason_of
from deepeyes_env.agents.openai import OpenAIAgent
from deepeyes_env.data.visual_search import pattern_search
from deepeyes_env.envs.vector import make_vector_env
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories, summarise
from tests.servers.faulty import FaultyServer

CUT = "<think>I look closer and"
ANSWER = "<answer>A</answer>"


def played(agent, episodes=2):
    kwargs = {"dataset": pattern_search("test", length=4), "autoreset_mode": AutoresetMode.DISABLED}
    with closing(make_vector_env("threads", "VisualToolbox-v2", 2, **kwargs)) as env:
        return list(play(env, agent, [Episode(number, number) for number in range(episodes)]))


def ended_by(choice):
    with FaultyServer(lambda request: choice) as server:
        return [[turn.finish_reason for turn in each.turns] for each in played(OpenAIAgent("tiny", server.url))]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("abort", "other"),
        (7, "other"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_words_of_servers(word, reason):
    assert finish_reason_of(word) == reason


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ({"message": {"content": ANSWER}, "finish_reason": "stop"}, "stop"),
        ({"message": {"content": CUT}, "finish_reason": "length"}, "length"),
        ({"message": {"content": ""}, "finish_reason": "content_filter"}, "content_filter"),
        ({"message": {"content": None, "refusal": "I cannot help."}, "finish_reason": "stop"}, "refusal"),
        ({"message": {"content": ANSWER}, "finish_reason": None}, ""),
    ],
)
def test_a_server_s_reason_is_in_the_turn(choice, reason):
    assert ended_by(choice) == [[reason], [reason]]


def test_agents_that_follow_a_script_end_their_messages():
    for trajectory in played(OracleAgent()):
        assert {turn.finish_reason for turn in trajectory.turns} == {"stop"}


@pytest.mark.integration
def test_a_local_model_says_whether_it_was_cut():
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from deepeyes_env.agents.transformers.agent import TransformersAgent
    from deepeyes_env.agents.transformers.generator import Sampling
    from deepeyes_env.trainers.tiny import BASE

    for most, reason in ((3, "length"), (64, "stop")):
        (trajectory,) = played(TransformersAgent(BASE, sampling=Sampling(0.0, most)), episodes=1)
        assert {turn.finish_reason for turn in trajectory.turns} == {reason}
        assert trajectory.overlong == (reason == "length")


def test_records_keep_the_reason_and_older_ones_are_read(tmp_path):
    (trajectory,) = played(OracleAgent(), episodes=1)
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(trajectory)
    (back,) = read_trajectories(tmp_path)
    assert [turn.finish_reason for turn in back.turns] == ["stop"] * len(trajectory.turns)
    file = tmp_path / "trajectories.jsonl"
    record = json.loads(file.read_text(encoding="utf-8"))
    for turn in record["turns"]:
        del turn["finish_reason"]
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    (older,) = read_trajectories(tmp_path)
    assert [turn.finish_reason for turn in older.turns] == [""] * len(trajectory.turns)
    assert summarise([back, older]).finish_reasons == {"stop": len(trajectory.turns)}


@pytest.mark.integration
def test_the_report_says_that_replies_were_cut(tmp_path):
    from deepeyes_env.agents.evaluation import evaluate
    from deepeyes_env.agents.evaluation.report_text import hints, markdown
    from tests.agents.evaluation.small_evaluations import BENCHMARK, RULES, samples

    with FaultyServer(lambda request: {"message": {"content": CUT}, "finish_reason": "length"}) as server:
        report = evaluate(
            BENCHMARK, samples(3), OpenAIAgent("tiny", server.url), RULES, out=tmp_path, tools="off",
            frame="view", settings={"max_tokens": 2048}, progress=False,
        )  # fmt: skip
    assert report.conditions[0].finishes == {"length": 3}
    assert hints(report) == [
        "in 3 of 3 episodes a message was cut off at max new tokens (2048): give a larger --max-tokens"
    ]
    assert "| messages ended by | length 3 |" in markdown(report)
    assert "In 3 of 3 episodes a message was cut off" in markdown(report)


@pytest.mark.integration
def test_nothing_is_said_where_nothing_was_cut(tmp_path):
    from deepeyes_env.agents.evaluation import evaluate
    from deepeyes_env.agents.evaluation.report_text import hints
    from tests.agents.evaluation.small_evaluations import BENCHMARK, RULES, samples

    report = evaluate(BENCHMARK, samples(2), agents.OracleAgent(), RULES, out=tmp_path, tools="off", progress=False)
    assert hints(report) == []
