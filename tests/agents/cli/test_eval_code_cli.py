"""``deepeyes eval --env DeepEyesV2-v0``: a served model that writes programs and searches."""

import json
import re

import pytest
from typer.testing import CliRunner

from deepeyes_env.agents.evaluation import report
from deepeyes_env.cli.app import app
from deepeyes_env.core import ToolCall
from deepeyes_env.data import load
from deepeyes_env.data.visual_search import write_facts
from deepeyes_env.protocols import get_protocol
from deepeyes_env.sandbox import get_sandbox
from tests.agents.evaluation.served import text_of, turn_of
from tests.sandbox.conftest import local_sandbox
from tests.servers.faulty import FaultyServer

LIMIT = 6
WRITE = get_protocol("deepeyes_v2").format_message


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A model that makes the calls of a solution, after a program that fails and a call that cannot be read."""
    pytest.importorskip("openai", reason="needs the extra openai")
    local_sandbox(get_sandbox())
    monkeypatch.setattr(report, "draw", lambda *arguments: [])
    monkeypatch.setenv("DEEPEYES_SEARCH", str(write_facts(tmp_path / "facts").parent))
    samples = list(load("code_search", split="test", length=LIMIT))

    def reply(request):
        asked = " ".join(map(text_of, request["messages"]))
        sample = next(each for each in samples if each.question in asked)
        calls = [ToolCall(call["name"], call["arguments"]) for call in sample.metadata["solution"]]
        turn = turn_of(request)
        if sample is samples[0]:
            slips = [WRITE("Hm.", ToolCall("python", {"code": "1 / nothing"})), "<tool_call>{}</tool_call>"]
            if turn < len(slips):
                return slips[turn]
            turn -= len(slips)
        if turn < len(calls):
            return WRITE("I find it out.", calls[turn])
        return WRITE("I have seen enough.", sample.answer)

    with FaultyServer(reply, models=["Qwen2.5-VL/tiny"]) as server:
        server.samples = samples
        yield server


@pytest.mark.integration
def test_code_and_searches_are_counted_by_tool(served, tmp_path):
    out = tmp_path / "run"
    command = ["eval", "--bench", "code_search", "--env", "DeepEyesV2-v0", "--limit", LIMIT, "--out", out]
    command += ["--model", "Qwen2.5-VL/tiny", "--base-url", served.url]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    (told,) = json.loads((out / "report.json").read_text())["conditions"]
    assert told["accuracy"]["value"] == 1.0
    needs = [sample.metadata["needs"] for sample in served.samples]
    programs = sum(need in ("code", "zoom") for need in needs)
    first = needs[0] in ("code", "zoom")
    tools = told["tools"]
    assert set(tools) == {"python", "(unread)"} | ({"search"} if "search" in needs else set())
    assert tools["python"]["rate"] == pytest.approx((programs + (not first)) / LIMIT)
    assert tools["python"]["calls"] == pytest.approx((programs + 1) / LIMIT)
    assert tools["python"]["errors"] == {"NameError": 1}
    assert tools["python"]["failed"] == pytest.approx(1 / (programs + 1))
    assert 0 < tools["python"]["seconds"] < tools["python"]["total_seconds"]
    assert tools["(unread)"]["errors"] == {"malformed": 1}
    text = (out / "report.md").read_text()
    (line,) = re.findall(r"^\| python \| with tools .*$", text, re.MULTILINE)
    assert "NameError 1" in line
    assert set(told["categories"]["needs"]) == set(needs)
