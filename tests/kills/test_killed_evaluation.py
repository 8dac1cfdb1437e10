"""``deepeyes eval`` against a server, killed thirty times: each question is answered once, and none asked in vain."""

import itertools
import json
import time

import pytest

pytest.importorskip("openai", reason="needs the extra openai")

from deepeyes_env.agents.evaluation.score_file import last_scores, read_scores
from tests.agents.evaluation.served import knows, number_of, reply, write_questions
from tests.kills.episodes import recorded, rows
from tests.kills.killing import Killer, lines, tell, timeless, unfinished
from tests.servers.faulty import FaultyServer

KILLS, COUNT, CONCURRENCY = 30, 60, 4

OPEN = 2 * CONCURRENCY + 1
"""Episodes that a kill may cost: those in flight, as many that are done and wait, and the one being written."""


def slowly(request):
    time.sleep(0.05)
    return reply(request)


def asked(requests):
    return {f"q{number_of(request):03}" for request in requests}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_evaluation_survives_thirty_kills(tmp_path):
    data = write_questions(tmp_path, COUNT)
    with FaultyServer(slowly) as server:

        def command(out):
            model = ("--model", "tiny", "--base-url", server.url, "--frame", "view", "--concurrency", CONCURRENCY)
            return list(map(str, ("eval", "--bench", "jsonl", "--data", data, *model, "--out", out)))

        whole = tmp_path / "whole"
        killer = Killer("evaluation", command(whole), whole, seed=1)
        assert len(server.requests) == 2 * COUNT
        again = 0
        for number in itertools.count():
            if killer.total >= KILLS:
                break
            again += killed_until_done(server, killer, command, tmp_path / f"run{number}", whole)
        made = len(server.requests) - 2 * COUNT
    tell("evaluation", [killer], f"; {again} of {made} requests were made again")


def killed_until_done(server, killer, command, out, whole):
    """Kill one evaluation until it is done; returns how many requests were made more than once."""
    resume, begun, before, kills = [], len(server.requests), {}, killer.total
    alive = True
    while alive:
        since = len(server.requests)
        alive = killer.strike([*command(out), *resume], out)
        questions, now = asked(server.requests[since:]), recorded(out)
        assert before.items() <= now.items(), "an episode was lost"
        assert not questions & set(before.values()), "a question was asked that was answered on disk"
        assert len(questions - set(now.values())) <= OPEN, "more was asked than what was in flight"
        list(read_scores(out))
        resume, before = ["--resume"], now
    again = len(server.requests) - begun - 2 * COUNT
    assert 0 <= again <= 2 * OPEN * (killer.total - kills)
    assert sorted(before.values()) == [f"q{i:03}" for i in range(COUNT)]
    assert rows(out) == rows(whole)
    assert scores(out) == scores(whole)
    verdicts = {int(before[number][1:]): each.value for number, each in last_scores(out).items()}
    assert verdicts == {i: knows(i) for i in range(COUNT)}
    report, expected = (json.loads((folder / "report.json").read_text()) for folder in (out, whole))
    assert report["conditions"][0]["accuracy"] == expected["conditions"][0]["accuracy"]
    assert (report["failed"], report["unjudged"], report["missing"], report["planned"]) == ([], [], 0, COUNT)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    assert unfinished(out) == []
    return again


def scores(out):
    """What the judge said of each episode, once each."""
    _, *written = timeless(lines(out / "scores.jsonl"))
    assert len(written) == COUNT
    return sorted(written, key=lambda score: score["episode"])
