"""An evaluation against a server that breaks down: nothing is lost, and nothing is asked twice without need."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from deepeyes_env.agents.evaluation import Scoring, evaluate
from deepeyes_env.agents.openai import OpenAIAgent, servers
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.judges import RuleJudge
from deepeyes_env.trajectories import read_trajectories
from tests.agents.evaluation.served import knows, number_of, reply, write_questions
from tests.servers.faulty import FaultyServer, random_faults, state_of

COUNT = 80
RATES = {"drop": 0.07, "429": 0.07, "500": 0.07, "503": 0.05, "half": 0.07, "garbled": 0.05}
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(servers, "FIRST_PAUSE", 0.002)


def ask(url, data, out, *, if_exists="error", count=COUNT):
    benchmark, dataset = open_benchmark("jsonl", data)
    agent = OpenAIAgent("tiny", url, concurrency=8, timeout=4, retries=2)
    scoring = Scoring(RuleJudge(), "rules")
    options = {"limit": count, "if_exists": if_exists, "progress": False}
    return evaluate(benchmark, dataset, agent, scoring, out=out, **options)


def played(out):
    return [trajectory.sample.id for trajectory in read_trajectories(out)]


def questions(requests):
    return {f"q{number_of(request):03}" for request in requests}


@pytest.mark.integration
def test_every_sample_is_answered_or_listed_and_none_is_asked_twice_without_need(tmp_path):
    data, out = write_questions(tmp_path, COUNT), tmp_path / "run"
    faults = random_faults({**RATES, "hang": 0.006}, seed=4)
    with FaultyServer(reply, faults) as server:
        report = ask(server.url, data, out)
        answered, listed = played(out), [each.sample for each in report.failed]
        assert sorted(answered + listed) == [f"q{i:03}" for i in range(COUNT)]
        assert listed, "the faults are so many that some samples fail three times in a row"
        assert all(each.error for each in report.failed)
        assert sum(server.given.values()) > 50
        assert server.given.keys() == {*RATES, "hang"}
        assert (report.planned, report.missing, report.unjudged) == (COUNT, 0, ())
        assert report.conditions[0].accuracy.value == pytest.approx(
            sum(knows(int(sample[1:])) for sample in answered) / len(answered)
        )
        for state, asked in server.asked.items():  # once, and once more for each fault, up to three times
            needed = next((n + 1 for n in range(3) if faults(state, n) is None), 3)
            assert asked == needed
        assert max(server.answered.values()) == 1

        before = len(server.requests)
        rounds = 0
        while not report.complete:
            rounds += 1
            assert rounds < 10
            report = ask(server.url, data, out, if_exists="resume")
        assert questions(server.requests[before:]) == set(listed)
        assert sorted(played(out)) == [f"q{i:03}" for i in range(COUNT)]
        assert report.conditions[0].accuracy.value == pytest.approx(sum(map(knows, range(COUNT))) / COUNT)


CHILD = """
import sys
from tests.agents.evaluation.test_faulty_evaluation import ask
ask(sys.argv[1], sys.argv[2], sys.argv[3], if_exists=sys.argv[4])
"""


@pytest.mark.integration
def test_a_killed_evaluation_goes_on_where_it_was(tmp_path):
    data, out = write_questions(tmp_path, COUNT), tmp_path / "run"
    record = out / "trajectories.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = threading.Event()

    def half_at_first(request):
        """Answers the first half of the questions, and the others once the child is dead."""
        if number_of(request) >= COUNT // 2:
            killed.wait()
        return reply(request)

    with FaultyServer(half_at_first, random_faults(RATES, seed=5)) as server:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, server.url, str(data), str(out), "error"],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while not (record.exists() and record.read_bytes().count(b"\n") > COUNT // 4):
            assert child.poll() is None, "ended before it could be killed"
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        killed.set()
        asked_before = len(server.requests)
        finished = set(played(out))
        assert 0 < len(finished) < COUNT

        report = ask(server.url, data, out, if_exists="resume")
        assert not finished & questions(server.requests[asked_before:])
        rounds = 0
        while not report.complete:
            rounds += 1
            assert rounds < 10
            report = ask(server.url, data, out, if_exists="resume")
        states = Counter(state_of(request) for request in server.requests)
        assert len(states) == 2 * COUNT
    assert sorted(played(out)) == [f"q{i:03}" for i in range(COUNT)]
    assert (report.planned, report.conditions[0].judged) == (COUNT, COUNT)
    assert report.conditions[0].accuracy.value == pytest.approx(sum(map(knows, range(COUNT))) / COUNT)
    assert report.conditions[0].zoom_rate == 1.0
    assert (out / "index.html").is_file()


def test_a_server_that_goes_away_costs_no_sample(tmp_path):
    data, out = write_questions(tmp_path, 12), tmp_path / "run"
    with FaultyServer(reply) as server:
        report = ask(server.url, data, out, count=6)
    assert report.complete
    gone = ask(server.url, data, out, count=12, if_exists="resume")
    assert len(gone.failed) == 6
    assert "no server" in gone.failed[0].error
    assert gone.conditions[0].episodes == 6
    with FaultyServer(reply) as server:
        back = ask(server.url, data, out, count=12, if_exists="resume")
        assert len(server.requests) == 12
    assert back.complete
    assert back.conditions[0].episodes == 12
