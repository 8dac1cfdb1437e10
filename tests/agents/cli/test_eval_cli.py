"""``deepeyes eval`` and ``deepeyes compare``."""

import json
import re

import pytest
from typer.testing import CliRunner

from deepeyes_env.agents.evaluation import report
from deepeyes_env.cli.app import app
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import llm
from deepeyes_env.trajectories import read_trajectories
from tests.agents.evaluation.served import COLOURS, reply, write_questions
from tests.conftest import pattern
from tests.servers.faulty import FaultyServer


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(report, "draw", lambda *arguments: [])


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(result):
    """What a command wrote on standard error, without the frame around it."""
    return re.sub(r"[\s│]+", " ", result.stderr)


def rows(output):
    """The rows of the table that is printed."""
    return dict(re.split(r"  +", line.strip(), maxsplit=1) for line in output.splitlines()[1:] if "  " in line.strip())


@pytest.fixture
def data(tmp_path):
    return write_questions(tmp_path, 12)


@pytest.fixture
def mine(data):
    return ("--bench", "jsonl", "--data", data)


@pytest.mark.parametrize(("option", "key"), [("--temperature", "temperature"), ("--max-tokens", "max_tokens")])
def test_none_leaves_a_field_out_of_the_request(mine, tmp_path, option, key):
    model = ("--model", "tiny", "--frame", "view", "--limit", "1", "--out", tmp_path / "run")
    with FaultyServer() as server:
        assert deepeyes("eval", *mine, *model, "--base-url", server.url, option, "none").exit_code == 0
    assert server.requests
    assert not any(key in request for request in server.requests)
    refused = deepeyes("eval", *mine, *model, option, "nnoe")
    assert refused.exit_code == 2
    assert "neither a number nor none" in refused.output


@pytest.mark.integration
def test_a_scripted_agent_on_a_file_of_ones_own(mine, tmp_path):
    result = deepeyes("eval", *mine, "--agent", "oracle", "--tools", "both", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert table["episodes"].split() == ["12", "12"]
    assert table["accuracy"].startswith("100.0% (75.8% to 100.0%)")
    assert table["tool-use rate"].split() == ["100.0%", "0.0%"]
    assert "with tools minus without tools: +0.0%" in result.stdout
    assert str(tmp_path / "run" / "report.md") in result.stdout.replace("\n", "")


def test_the_built_in_task_needs_no_data(tmp_path):
    result = deepeyes("eval", "--bench", "visual_search", "--agent", "oracle", "--limit", 3, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)["accuracy"].startswith("100.0%")


@pytest.mark.integration
def test_a_local_folder_needs_no_server(mine, tmp_path):
    pytest.importorskip("torch", reason="needs the extra transformers")
    pytest.importorskip("transformers", reason="needs the extra transformers")
    from deepeyes_env.trainers.tiny import BASE

    command = ("eval", *mine, "--model", BASE, "--max-tokens", 32, "--limit", 4, "--out", tmp_path / "run")
    result = deepeyes(*command)
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)["episodes"] == "4"
    played = list(read_trajectories(tmp_path / "run"))
    assert all(turn.tokens and turn.tokens.ids for trajectory in played for turn in trajectory.turns)
    assert all(trajectory.metadata["context_log"] for trajectory in played)
    other = ("eval", *mine, "--model", BASE, "--max-tokens", 8, "--limit", 1, "--out", tmp_path / "other")
    result = deepeyes(*other, "--frame", "native")
    assert result.exit_code == 0, result.output
    assert [trajectory.frame for trajectory in read_trajectories(tmp_path / "other")] == ["native"]
    refused = deepeyes(*command, "--no-stop", "--retries", 2)
    assert "--model runs here, and no server is asked for it" in told(refused)
    assert "leave out --stop/--no-stop, --retries" in told(refused)


@pytest.mark.integration
def test_a_served_model_is_evaluated_resumed_judged_again_and_compared(mine, tmp_path, monkeypatch):
    pytest.importorskip("openai", reason="needs the extra openai")
    monkeypatch.chdir(tmp_path)
    with FaultyServer(reply, models=["Qwen2.5-VL/tiny"]) as server:
        served = ("--model", "Qwen2.5-VL/tiny", "--base-url", server.url)
        result = deepeyes("eval", *mine, *served, "--limit", 6)
        assert result.exit_code == 0, result.output
        assert rows(result.stdout)["accuracy"].startswith("66.7%")
        out = tmp_path / "runs" / "jsonl-Qwen2.5-VL-tiny"
        assert len(server.requests) == 12
        again = deepeyes("eval", *mine, *served)
        assert (again.exit_code, "holds a run" in again.stderr) == (1, True)
        resumed = deepeyes("eval", *mine, *served, "--resume")
        assert resumed.exit_code == 0, resumed.output
        assert len(server.requests) == 24
        assert all("</tool_call>" in request["stop"] for request in server.requests)
        assert {request["temperature"] for request in server.requests} == {0.0}
        repeated = deepeyes("eval", *mine, *served, "--repeats", 2, "--temperature", 0.7, "--out", tmp_path / "two")
        assert repeated.exit_code == 0, repeated.output
        assert len({request["seed"] for request in server.requests[24:]}) == 24
    assert len(list(read_trajectories(out))) == 12
    told = json.loads((out / "run.json").read_text())
    assert (told["frame"], told["temperature"], told["seed"], told["samples"]) == ("view", 0.0, 0, 12)

    rescored = deepeyes("eval", "--rescore", "--out", out, "--judge", "rules", "--rubric", "deepeyes")
    assert rescored.exit_code == 0, rescored.output
    assert json.loads((out / "report.json").read_text())["judge"] == {"judge": "rules", "rubric": "deepeyes"}
    assert deepeyes("eval", *mine, "--agent", "blind", "--out", tmp_path / "blind").exit_code == 0
    compared = deepeyes("compare", out, tmp_path / "blind", "--out", tmp_path / "vs")
    assert compared.exit_code == 0, compared.output
    assert "exact McNemar test, 12 questions" in compared.stdout.replace("\n", " ")
    assert (tmp_path / "vs" / "comparison.html").is_file()


@pytest.mark.integration
def test_an_open_answer_is_judged_by_a_model(tmp_path, mine, monkeypatch):
    pytest.importorskip("openai", reason="needs the extra openai")
    monkeypatch.setattr(llm, "FIRST_PAUSE", 0.01)
    out = tmp_path / "run"
    assert deepeyes("eval", *mine, "--agent", "oracle", "--out", out).exit_code == 0
    with FaultyServer(lambda request: "no judgement", models=["judge"]) as server:
        asked = ("--judge", "llm", "--judge-model", "judge", "--judge-url", server.url)
        result = deepeyes("eval", "--rescore", "--out", out, *asked)
    assert result.exit_code == 1
    assert "12 could not be judged" in result.stderr.replace("\n", " ")
    assert "--rescore judges the rest" in result.stderr
    listed = json.loads((out / "report.json").read_text())
    assert (len(listed["unjudged"]), listed["conditions"][0]["accuracy"]) == (12, None)
    unnamed = deepeyes("eval", "--rescore", "--out", out, "--judge", "llm")
    assert "give --judge-model and --judge-url" in unnamed.stderr


def test_a_server_that_is_not_there_or_serves_another_model_is_named(mine, tmp_path):
    pytest.importorskip("openai", reason="needs the extra openai")
    out = ("--out", tmp_path / "run")
    with FaultyServer(reply, models=["Qwen2.5-VL-7B", "other"]) as server:
        wrong = deepeyes("eval", *mine, "--model", "Qwen2.5-VL-3B", "--base-url", server.url, *out)
        url = server.url
    gone = deepeyes("eval", *mine, "--model", "Qwen2.5-VL-7B", "--base-url", url, *out)
    assert (wrong.exit_code, gone.exit_code) == (1, 1)
    assert "does not serve 'Qwen2.5-VL-3B' but: Qwen2.5-VL-7B, other" in wrong.stderr
    assert f"there is no server at {url}" in gone.stderr
    assert not (tmp_path / "run").exists()


def test_samples_that_fail_are_told(mine, tmp_path):
    pytest.importorskip("openai", reason="needs the extra openai")

    def moody(state, attempt):
        return "500" if state[0] in "0123" else None

    with FaultyServer(reply, moody) as server:
        served = ("--model", "tiny", "--base-url", server.url, "--frame", "view", "--retries", 0, "--no-stop")
        result = deepeyes("eval", *mine, *served, "--out", tmp_path / "run")
        assert not any("stop" in request for request in server.requests)
    assert result.exit_code == 1
    assert re.search(r"\d+ of 12 episodes played and judged, \d+ could not be played", result.stderr)
    assert "the first is sample q0" in result.stderr
    assert "--resume plays and judges the rest" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--bench is missing"),
        (("--bench", "vstra", "--agent", "blind"), "did you mean 'vstar'?"),
        (("--bench", "vstar", "--agent", "blind"), "needs its data"),
        (("--bench", "vstar", "--data", "/nowhere", "--agent", "blind"), "there is no such file"),
        (("--bench", "visual_search"), "give --model"),
        (("--bench", "visual_search", "--agent", "blnd"), "did you mean 'blind'?"),
        (("--bench", "visual_search", "--agent", "blind", "--tools", "some"), "must be one of on, off, both"),
        (
            ("--bench", "visual_search", "--agent", "blind", "--judge", "me"),
            "known: box, chain, ",
        ),
        (("--bench", "visual_search", "--agent", "blind", "--judge", "rul"), "did you mean 'rules'?"),
        (("--bench", "visual_search", "--agent", "blind", "--judge", "box"), "compares nothing but boxes"),
        (("--bench", "visual_search", "--agent", "blind", "--judge", "rules", "--judge-model", "m"), "takes no model"),
        (("--bench", "visual_search", "--agent", "blind", "--rubric", "me"), "unknown rubric"),
        (("--bench", "visual_search", "--model", "mystery"), "--frame native|view|norm1000|unit"),
        (("--bench", "visual_search", "--model", "mystery", "--frame", "x"), "unknown coordinate frame 'x'"),
        (("--bench", "visual_search", "--model", "Qwen2-VL", "--repeats", "3"), "give --temperature"),
        (("--bench", "visual_search", "--agent", "blind", "--base-url", "http://h/v1"), "leave out --base-url"),
        (("--bench", "visual_search", "--agent", "blind", "--frame", "view"), "--agent is no model: leave out --frame"),
        (("--bench", "visual_search", "--agent", "blind", "--max-tokens", "2048"), "leave out --max-tokens"),
        (("--bench", "visual_search", "--data", "mine.jsonl", "--agent", "blind"), "reads no data"),
        (("--rescore", "--out", "o", "--bench", "pope", "--model", "m"), "already: leave out --bench, --model"),
        (("--rescore", "--out", "o", "--data", "d", "--no-stop"), "already: leave out --data, --stop/--no-stop"),
        (("--rescore",), "--rescore needs --out"),
        (("--rescore", "--resume"), "exclude each other"),
        (("--rescore", "--out", "/nowhere"), "holds no evaluation"),
        (("--bench", "visual_search", "--agent", "blind", "--judge", "chain"), "give --judge-model and --judge-url"),
    ],
)
def test_wrong_options_name_the_remedy(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = deepeyes("eval", *arguments)
    assert result.exit_code in (1, 2)
    assert words in told(result)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("judge", ["rules", "math", "llm", "chain"])
def test_boxes_are_judged_by_their_overlap_alone(judge, tmp_path):
    record = {"image": "a.png", "sent": "the cat", "bbox": [1, 2, 30, 40]}
    (tmp_path / "r.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "a.png").write_bytes(encode(pattern(60, 50), format="png"))
    data = ("--bench", "refcoco", "--data", tmp_path / "r.jsonl")
    command = ("eval", *data, "--agent", "oracle", "--out", tmp_path / "o")
    asked = ("--judge", judge, *(("--judge-model", "m", "--judge-url", "http://h/v1") if judge in "llm chain" else ()))
    result = deepeyes(*command, *asked)
    assert (result.exit_code, (tmp_path / "o").exists()) == (1, False)
    assert f"--judge {judge}: cannot compare boxes; refCOCO needs --judge standard" in told(result)
    assert deepeyes(*command).exit_code == 0
    again = deepeyes("eval", "--rescore", "--out", tmp_path / "o", *asked)
    assert "refCOCO needs --judge standard" in told(again)


def test_a_tsv_without_a_column_is_told_its_columns(tmp_path):
    (tmp_path / "mine.tsv").write_text("index\timage\tquestion\n")
    result = deepeyes("eval", "--bench", "tsv", "--data", tmp_path / "mine.tsv", "--agent", "blind")
    assert result.exit_code == 1
    assert re.search(r"lacks.*answer.*has.*question", result.stderr.replace("\n", " "))


def test_compare_needs_two_evaluations(tmp_path):
    result = deepeyes("compare", tmp_path / "a", tmp_path / "b")
    assert (result.exit_code, "holds no evaluation" in result.stderr) == (1, True)


def test_the_questions_are_what_they_seem(data):
    assert len(data.read_text().splitlines()) == 12
    assert len(set(COLOURS)) == 4


def test_a_model_folder_that_is_not_there_is_told():
    result = deepeyes("eval", "--bench", "visual_search", "--model", "runs/nowhere")
    assert result.exit_code == 1
    assert "--model runs/nowhere: there is no such folder" in result.output


def test_mathematics_is_one_judge_for_the_benchmark_and_the_command_line(tmp_path):
    pytest.importorskip("math_verify")
    (tmp_path / "a.png").write_bytes(encode(pattern(60, 50), format="png"))
    question = {"pid": "1", "question": "How long?", "image": "a.png", "answer": "1.2", "precision": 1}
    kinds = {"question_type": "free_form", "answer_type": "float"}
    (tmp_path / "testmini.json").write_text(json.dumps({"1": question | kinds}))
    command = ("eval", "--bench", "mathvista", "--data", tmp_path / "testmini.json", "--agent", "oracle")
    verdicts = []
    for judge in ("standard", "math"):
        result = deepeyes(*command, "--judge", judge, "--out", tmp_path / judge)
        assert result.exit_code == 0, result.output
        verdicts.append([json.loads(line) for line in (tmp_path / judge / "scores.jsonl").read_text().splitlines()])
    said = [[(score["value"], score["judge"]) for score in scores if "value" in score] for scores in verdicts]
    assert said == [[(1.0, "rounding")]] * 2, verdicts


def test_judging_again_by_a_plugin(mine, tmp_path):
    assert deepeyes("eval", *mine, "--agent", "oracle", "--limit", 2, "--out", tmp_path / "run").exit_code == 0
    plugin = tmp_path / "test_never_plugin.py"
    plugin.write_text(
        "from deepeyes_env import register_judge\n"
        "from deepeyes_env.judges import Verdict\n"
        "register_judge('test_never', lambda: lambda prediction, sample: Verdict(0.0, 'never'))\n"
    )
    again = ("eval", "--rescore", "--out", tmp_path / "run", "--plugin", plugin, "--judge", "test_never")
    result = deepeyes(*again)
    assert result.exit_code == 0, result.output
    assert rows(result.stdout)["accuracy"].startswith("0.0%")
    assert "takes no model" in told(deepeyes(*again, "--judge-model", "m"))
