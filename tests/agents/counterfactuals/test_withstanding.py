"""A server that fails a third of all calls, kills at any moment, a model that answers nothing."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from deepeyes_env.agents.counterfactuals import last_outcomes, play_credit, run_conditions
from deepeyes_env.agents.counterfactuals.answers import AnswerFile, remembering
from deepeyes_env.agents.evaluation import Scoring
from deepeyes_env.agents.openai import OpenAIAgent, servers
from deepeyes_env.agents.run_folder import CREDIT
from deepeyes_env.data import load
from deepeyes_env.judges import RuleJudge
from tests.agents.evaluation.served import knows, reply, write_questions
from tests.servers.faulty import FaultyServer, random_faults

COUNT, K = 12, 2
RATES = {"drop": 0.06, "429": 0.06, "500": 0.06, "503": 0.05, "half": 0.07}
ROOT = Path(__file__).parents[3]
RUNS = """
import os, sys
from tests.agents.counterfactuals.test_withstanding import ask
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        ask(*sys.argv[1:])
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Begins a run in a process of its own at every line, and says how it ended; importing takes longer than running."""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(servers, "FIRST_PAUSE", 0.002)


def ask(url, data, out, *, count=COUNT):
    agent = OpenAIAgent("tiny", url, concurrency=4, timeout=4, retries=2, seed=0)
    scoring = Scoring(RuleJudge(), "rules")
    options = {"k": K, "limit": count, "if_exists": "resume", "frame": "view", "progress": False}
    return list(run_conditions(load(str(data)), agent, scoring, out=out, **options))


def until_complete(url, data, out):
    for _ in range(10):
        outcomes = ask(url, data, out)
        if not any(each.error for each in outcomes):
            return outcomes
    raise AssertionError("a question stays without a label")


@pytest.mark.integration
def test_every_question_has_a_verdict_or_a_reason_and_none_is_asked_twice_without_need(tmp_path):
    data, out = write_questions(tmp_path, COUNT), tmp_path / "run"
    with FaultyServer(reply, random_faults(RATES, seed=3)) as server:
        first = ask(server.url, data, out)
        assert len(first) == COUNT * 3 * K
        assert all((each.right is None) == bool(each.error) for each in first)
        assert sum(server.given.values()) > 20
        done = until_complete(server.url, data, out)
        answered = sum(server.answered.values())
        assert answered == len((out / "answers.jsonl").read_bytes().splitlines())
        assert {each.episode: each for each in ask(server.url, data, out)} == {each.episode: each for each in done}
        assert sum(server.answered.values()) == answered
    assert {(each.sample, each.right) for each in done} == {(number, knows(number)) for number in range(COUNT)}
    assert all(each.calls == (each.condition == "with") for each in done)


def killed(runs, server, moments, most):
    """Begin a run, kill it after some requests, and return how it ended."""
    runs.stdin.write("\n")
    runs.stdin.flush()
    child = int(runs.stdout.readline())
    until = len(server.requests) + moments.randint(1, max(1, most))
    with suppress(ProcessLookupError):  # it was done before
        while len(server.requests) < until:
            os.kill(child, 0)
            time.sleep(0.002)
        time.sleep(moments.random() * 0.05)
        os.kill(child, signal.SIGKILL)
    return int(runs.stdout.readline())


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_kills_at_any_moment_cost_no_answer(tmp_path, kills):
    data, out = write_questions(tmp_path, COUNT), tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    moments = random.Random(kills)

    def slowly(request):
        time.sleep(0.02 if kills > 3 else 0.005)
        return reply(request)

    with FaultyServer(slowly) as server:
        command = [sys.executable, "-c", RUNS, server.url, str(data), str(out)]
        runs = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ended = [killed(runs, server, moments, 6 * COUNT * K // kills) for _ in range(kills)]
        runs.stdin.close()
        runs.wait()
        assert -signal.SIGKILL in ended
        done = until_complete(server.url, data, out)
        kept = len((out / "answers.jsonl").read_bytes().splitlines())
        in_flight = 4
        assert kept <= sum(server.answered.values()) <= kept + kills * in_flight
        assert kept == COUNT * K * 4, "one message without tools, one with the region shown, two with tools"
    assert {(each.sample, each.right) for each in done} == {(number, knows(number)) for number in range(COUNT)}
    assert last_outcomes(out).keys() == {each.episode for each in done}


def test_requests_wait_written_for_a_server_that_gets_no_more_at_once_than_it_may(tmp_path):
    data, out = write_questions(tmp_path, COUNT), tmp_path / "run"
    full = threading.Barrier(8)

    def slowly(request):
        full.wait(60)  # eight come together each time, or this breaks
        return reply(request)

    with FaultyServer(slowly) as server:
        agent = OpenAIAgent("tiny", server.url, concurrency=8)
        waiting = remembering(agent, AnswerFile(tmp_path / "answers.jsonl"))
        assert waiting.concurrency == 10
        options = {"k": 4, "limit": 8, "conditions": ("without",), "frame": "view", "progress": False}
        outcomes = list(run_conditions(load(str(data)), agent, Scoring(RuleJudge(), "rules"), out=out, **options))
    assert not any(each.error for each in outcomes)
    assert server.peak == 8


def test_a_model_that_says_nothing_is_wrong_and_has_no_calls_to_play_on_from(tmp_path):
    data, out = write_questions(tmp_path, 3), tmp_path / "run"
    with FaultyServer(lambda request: "") as server:
        outcomes = ask(server.url, data, out)
        assert len(outcomes) == 3 * 3 * K
        assert {(each.right, each.answer, each.error) for each in outcomes} == {(False, None, "")}
        assert all("no answer" in each.reason for each in outcomes)
        agent = OpenAIAgent("tiny", server.url)
        scoring = Scoring(RuleJudge(), "rules")
        assert play_credit(out, agent, scoring, k=2, progress=False, frame="view") == {}
    assert not last_outcomes(out / CREDIT)


@pytest.mark.integration
def test_calls_are_played_on_from_on_a_server_that_fails(tmp_path):
    """The model knows the answer, or does not, whatever it is shown: its looks are decorative."""
    data, out = write_questions(tmp_path, 4), tmp_path / "run"

    with FaultyServer(reply, random_faults(RATES, seed=2)) as server:
        until_complete(server.url, data, out)
        agent = OpenAIAgent("tiny", server.url, concurrency=4, timeout=4, retries=2)
        options = {"k": 3, "progress": False, "frame": "view", "dataset": load(str(data))}
        for _ in range(6):
            effects = play_credit(out, agent, Scoring(RuleJudge(), "rules"), **options)
    assert {each.verdict for calls in effects.values() for each in calls} == {"decorative"}
    assert {each.plays for calls in effects.values() for each in calls} == {3}
    assert len(effects) == 4 * K
