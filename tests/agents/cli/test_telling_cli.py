"""What servers, data and arguments say reaches terminal and report, but commands neither, and no secret is among it."""

import base64
import json
import logging

import pytest
from typer.testing import CliRunner

from deepeyes_env.agents.evaluation import report
from deepeyes_env.cli.app import app
from deepeyes_env.judges import llm
from tests.agents.evaluation.served import write_questions
from tests.servers.faulty import FaultyServer

PASSWORD, KEY = "hunter2hunter2", "my-own-secret-key"
ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(report, "draw", lambda *arguments: [])
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def everything(folder, *results):
    """All that was told: files and terminal."""
    files = [
        path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.suffix in (".json", ".jsonl", ".md", ".html", ".js")
    ]
    return "".join([*files, *(result.output for result in results)])


class Echoing(FaultyServer):
    """Refuses what asks about an image, with all that it was sent, and what would command a terminal."""

    def refusal(self, request):
        if "image_url" not in json.dumps(request) and "question" not in json.dumps(request).lower():
            return None
        sent = self.headers[-1]["authorization"]
        return (
            400,
            f"{ESCAPE} you sent {sent}, key {KEY}, password {PASSWORD} {base64.b64decode(sent.split()[-1] + '==')}",
        )


def test_what_a_server_echoes_is_told_without_secrets_and_escapes(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with Echoing() as server:
        url = server.url.replace("http://", f"http://me:{PASSWORD}@")
        data = write_questions(tmp_path, 3)
        result = deepeyes(
            "eval",
            "--bench",
            "jsonl",
            "--data",
            data,
            "--model",
            "tiny",
            "--base-url",
            url,
            "--frame",
            "view",
            "--out",
            tmp_path / "run",
        )
        assert {each["authorization"] for each in server.headers} == {
            "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        }
    assert result.exit_code == 1
    told = everything(tmp_path, result)
    assert "refused the request (400" in told
    for secret in (PASSWORD, KEY, base64.b64encode(f"me:{PASSWORD}".encode()).decode()):
        assert secret not in told + caplog.text
    assert "\x1b" not in result.output + (tmp_path / "run" / "report.md").read_text()


def test_a_judge_that_echoes_is_told_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setattr(llm, "FIRST_PAUSE", 0.0)
    with FaultyServer(reply=lambda request: f"{ESCAPE} no judgement: {KEY} {PASSWORD}") as server:
        url = server.url.replace("http://", f"http://me:{PASSWORD}@")
        data = write_questions(tmp_path, 2)
        asked = ("--judge", "llm", "--judge-model", "tiny", "--judge-url", url)
        result = deepeyes(
            "eval", "--bench", "jsonl", "--data", data, "--agent", "oracle", *asked, "--out", tmp_path / "run"
        )
    assert result.exit_code == 1
    told = everything(tmp_path, result)
    assert "no judgement" in told
    assert PASSWORD not in told
    assert KEY not in told
    assert "\x1b" not in result.output + (tmp_path / "run" / "report.md").read_text()


WRONG_URLS = ("ftp://me:{0}@host/v1", "http://me:{0}@host:0/v1", "http://127.0.0.1:1/v1?key={0}")
SERVED = ("--model", "tiny", "--retries", 0, "--base-url")
JUDGED = ("--agent", "oracle", "--judge", "llm", "--judge-model", "m", "--judge-url")


@pytest.mark.parametrize(
    ("option", "url"),
    [(SERVED, "http://me:{0}@127.0.0.1:1/v1"), *((option, url) for option in (SERVED, JUDGED) for url in WRONG_URLS)],
)
def test_a_wrong_url_is_told_without_its_password(tmp_path, option, url):
    data = write_questions(tmp_path, 1)
    asked = ("eval", "--bench", "jsonl", "--data", data, "--out", tmp_path / "run")
    result = deepeyes(*asked, *option, url.format(PASSWORD))
    assert result.exit_code == 1
    assert PASSWORD not in everything(tmp_path, result)


@pytest.mark.parametrize("model", ["tiny[/b]", f"tiny{ESCAPE}", "[red]tiny"])
def test_a_models_name_is_no_markup(tmp_path, model):
    with FaultyServer(models=[model]) as server:
        data = write_questions(tmp_path, 1)
        result = deepeyes(
            "eval",
            "--bench",
            "jsonl",
            "--data",
            data,
            "--model",
            model,
            "--base-url",
            server.url,
            "--frame",
            "view",
            "--out",
            tmp_path / "run",
        )
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert model in result.output or "\x1b" in model


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "--bench", ESCAPE),
        ("eval", "--limit", ESCAPE),
        ("rollout", "--agent", ESCAPE),
        (ESCAPE,),
        ("view", ESCAPE),
        ("rollout", f"--{ESCAPE}"),
    ],
)
def test_arguments_do_not_command_the_terminal(arguments):
    result = deepeyes(*arguments)
    assert result.exit_code in (1, 2)
    assert "\x1b" not in result.output
    assert "\x07" not in result.output


def test_categories_are_no_markdown(tmp_path):
    data = write_questions(tmp_path, 2)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    for row in rows:
        row["metadata"] = {"category": f"![x](http://tell.example/{ESCAPE}) | <img src=x>"}
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = deepeyes("eval", "--bench", "jsonl", "--data", data, "--agent", "oracle", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "run" / "report.md").read_text()
    assert r"!\[x\](http\://tell.example/" in text
    assert "<img" not in text
    assert "\x1b" not in text
