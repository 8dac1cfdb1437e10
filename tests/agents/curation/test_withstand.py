"""A curation that is disturbed: servers that fail, a process that is killed, a disk that is full."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from deepeyes_env.agents.curation import Asking, LabelTable, begin_curation, label_answers, label_by_model, label_format
from deepeyes_env.agents.curation.label_file import STAGES
from deepeyes_env.agents.evaluation import Scoring
from deepeyes_env.agents.openai import OpenAIAgent, servers
from deepeyes_env.judges import RuleJudge
from tests.agents.evaluation.served import reply, write_questions
from tests.servers.faulty import FaultyServer, random_faults

COUNT, K = 12, 2
RATES = {"drop": 0.1, "429": 0.05, "500": 0.05, "503": 0.05, "half": 0.05}
ROOT = Path(__file__).parents[3]


def curate(url, data, out):
    """Run all stages."""
    begun = begin_curation(out, data, {"open": False})
    label_format(begun.dataset, begun.folder, progress=False)
    agent = OpenAIAgent("tiny", url, concurrency=8, timeout=60, retries=1, temperature=1.0, seed=0)
    scoring = Scoring(RuleJudge(), "rules")
    kwargs = {"frame": "native", "max_turns": 3}
    asking = Asking(agent, scoring, k=K, env_kwargs=kwargs, episodes=False, progress=False)
    label_answers(begun, asking)
    for stage in ("difficulty", "utility", "gain"):
        label_by_model(begun, stage, asking)
    return LabelTable(begun.folder, len(begun.dataset))


def unlabelled(table):
    return {(stage, row): reason for stage in STAGES for row, reason in table.reasons(stage).items()}


def asked_twice(server):
    """How often conversation states were answered in full beyond the seeds that they were asked with."""
    answered = Counter((str(each.get("messages")), each.get("seed")) for each in server.requests)
    return sum(count - 1 for count in answered.values())


@pytest.fixture
def data(tmp_path):
    return write_questions(tmp_path, COUNT)


@pytest.mark.integration
def test_a_server_that_fails_three_of_ten_calls(data, tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "FIRST_PAUSE", 0.002)
    with FaultyServer(reply, random_faults(RATES, seed=4)) as server:
        table = curate(server.url, data, tmp_path / "out")
        lost = unlabelled(table)
        assert all(lost.values()), "a question without a label has a reason"
        given = sum(server.given.values())
        assert given > 20
        for _ in range(6):
            if not lost:
                break
            lost = unlabelled(curate(server.url, data, tmp_path / "out"))
        assert not lost
        assert asked_twice(server) <= sum(server.given.values()), "only what failed is asked again"
    assert [table.of(row)["utility"] for row in range(COUNT)] == [0] * COUNT


CHILD = """
import sys
from tests.agents.curation.test_withstand import curate
curate(*sys.argv[1:])
"""


def killed_again_and_again(data, out, kills, seed):
    """Kill a curation at some moments, then let it end; returns the server and the table."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    dice = random.Random(seed)
    with FaultyServer(reply) as server:
        for _ in range(kills):
            before = len(server.requests)
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, server.url, str(data), str(out)],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
            wanted = dice.choice((0, 1, 5, 10, 20))
            while len(server.requests) < before + wanted and child.poll() is None:
                time.sleep(0.005)
            time.sleep(dice.choice((0.0, 0.002, 0.05)))
            child.send_signal(signal.SIGKILL)
            child.wait()
        table = curate(server.url, data, out)
    return server, table


def check_killed(server, table, kills):
    assert not unlabelled(table)
    # Without tools, shown, and two messages with tools; what was in flight when it was killed is asked again.
    assert 4 * COUNT * K <= len(server.requests) <= 4 * COUNT * K + 8 * kills
    assert [table.of(row)["gain"] for row in range(COUNT)] == [0] * COUNT
    assert {table.of(row)["difficulty"] for row in range(COUNT)} == {0, 1}


@pytest.mark.integration
def test_a_killed_curation_goes_on_where_it_was(data, tmp_path):
    server, table = killed_again_and_again(data, tmp_path / "out", 2, seed=1)
    check_killed(server, table, 2)


@pytest.mark.slow
def test_killed_thirty_times(data, tmp_path):
    server, table = killed_again_and_again(data, tmp_path / "out", 30, seed=2)
    check_killed(server, table, 30)


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from deepeyes_env.cli.app import app
app(sys.argv[2:])
"""


@pytest.mark.integration
@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX's")
@pytest.mark.parametrize("room", [1500, 6000])
def test_a_full_disk_is_told_and_costs_no_label(data, tmp_path, room):
    out = tmp_path / "out"
    command = ["curate", str(data), "--out", str(out), "--agent", "oracle", "--k", "1", "--as-is", "--no-episodes"]
    child = [sys.executable, "-c", FULL_DISK, str(room), *command, "--stages", "format,difficulty"]
    ended = subprocess.run(child, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert "free some space" in last
    assert str(out) in last
    assert not list(out.rglob("*.tmp"))
    begun = begin_curation(out)
    label_format(begun.dataset, begun.folder, progress=False)
    assert not LabelTable(out, COUNT).reasons("format")
