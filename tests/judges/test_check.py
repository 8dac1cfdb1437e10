"""Is a judging model there, and does it judge as it should: ``deepeyes judge --check``."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from deepeyes_env.cli.app import app
from deepeyes_env.errors import JudgeError
from deepeyes_env.judges import LLMJudge, Verdict
from deepeyes_env.judges.check import KNOWN_ANSWERS, check_judge
from tests.judges.judging_model import case_of, honest, understanding
from tests.servers.faulty import FaultyServer


def deepeyes(*arguments):
    return CliRunner().invoke(app, ["judge", *arguments])


def wanted(prediction, sample):
    (known,) = (each for each in KNOWN_ANSWERS if (each.given, each.right) == (prediction, sample.answer))
    return known.is_right


def test_a_judge_that_knows_agrees():
    report = check_judge(lambda prediction, sample: Verdict(float(wanted(prediction, sample)), "mine"))
    assert (report.asked, report.wrong, report.agreement) == (12, (), 1)
    assert len(report.latencies) == 12
    report.check()


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_judge_that_says_the_same_to_everything_is_refused(score):
    report = check_judge(lambda *_: Verdict(score, "mine"))
    assert report.agreement == 0.5
    assert {each.is_right for each in report.wrong} == {score == 0}
    with pytest.raises(JudgeError, match="agrees on 6 of 12"):
        report.check()


def test_a_judge_that_abstains_is_told():
    with pytest.raises(JudgeError, match="abstained"):
        check_judge(lambda *_: None)


def test_a_served_judge_is_asked_about_each_answer():
    with FaultyServer(understanding, models=["tiny"]) as server:
        report = check_judge(LLMJudge("tiny", server.url))
    assert report.agreement == 1
    assert {case_of(request)["given"] for request in server.requests} == {each.given for each in KNOWN_ANSWERS}


def test_the_command_finds_the_only_model_and_tells_latency_and_agreement():
    with FaultyServer(understanding, models=["tiny"]) as server:
        done = deepeyes("--check", server.url)
    assert done.exit_code == 0, done.output
    assert "12 of 12" in done.stdout
    assert "seconds" in done.stdout
    assert {request["model"] for request in server.requests} == {"tiny"}


def test_the_command_fails_where_the_judge_cannot_be_used():
    with FaultyServer(honest, models=["tiny"]) as server:
        done = deepeyes("--check", server.url, "--model", "tiny")
        assert done.exit_code == 1
        assert "agrees on" in " ".join(done.output.split())
        other = deepeyes("--check", server.url, "--model", "other")
        assert other.exit_code == 1
        assert "tiny" in other.output
    gone = deepeyes("--check", server.url)
    assert gone.exit_code == 1
    assert "no server answers" in " ".join(gone.output.split())


def test_several_models_are_named():
    with FaultyServer(understanding, models=["one", "two"]) as server:
        done = deepeyes("--check", server.url)
    assert done.exit_code == 1
    assert "one, two" in done.output
    assert "--model" in done.output
