"""``--prompt`` and ``--prompt-template``: the same words in rollouts and evaluations, recorded with the run."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from deepeyes_env import Sample
from deepeyes_env.agents.evaluation import report
from deepeyes_env.cli.app import app
from deepeyes_env.data import write_jsonl
from deepeyes_env.trajectories import read_trajectories
from tests.conftest import pattern

pytest.importorskip("yaml")

SYSTEM = 'You are helpful. Call {"name": "look_closer", "arguments": {"bbox_2d": [1, 2, 3, 4]}} in tool_call tags.'
USER = "<image>\nWhat colour?\nThink, then call or answer."
MESSAGES = ({"role": "system", "content": SYSTEM}, {"role": "user", "content": USER})


def deepeyes(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(report, "draw", lambda *arguments: [])


@pytest.fixture
def data(tmp_path):
    box = (100, 100, 300, 260)
    rows = [
        Sample(f"s{i}", "What colour?", "red", pattern(400, 300), boxes=(box,), messages=MESSAGES) for i in range(2)
    ]
    write_jsonl(rows, tmp_path / "rows.jsonl")
    return tmp_path / "rows.jsonl"


@pytest.fixture
def template(tmp_path):
    (tmp_path / "mine.yaml").write_text('system: "Look."\nobservation: "[{{ results }}]"\n')
    return tmp_path / "mine.yaml"


def settings(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_rollout_opens_with_the_rows_own_words_and_tells_what_they_name(data, tmp_path):
    result = deepeyes("rollout", "--data", data, "--episodes", 2, "--in-order", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert re.search(r"prompts that name unknown tools +look_closer 2", result.stdout)
    for episode in read_trajectories(tmp_path / "run"):
        assert (episode.system_prompt, episode.prompt.text) == (SYSTEM, USER)
        assert episode.metadata["prompt"] == "row"
        assert episode.metadata["unknown_tools"] == ["look_closer"]
        assert episode.sample.messages[0].content == SYSTEM


def test_the_protocols_words_are_recorded_with_the_run(data, template, tmp_path):
    arguments = ("rollout", "--data", data, "--episodes", 2, "--prompt", "protocol", "--prompt-template", template)
    assert deepeyes(*arguments, "--out", tmp_path / "run").exit_code == 0
    told = settings(tmp_path / "run")
    assert told["prompt"] == "protocol"
    assert told["prompt_template"] == {"system": "Look.", "observation": "[{{ results }}]"}
    episodes = list(read_trajectories(tmp_path / "run"))
    assert {episode.system_prompt for episode in episodes} == {"Look."}
    assert {episode.turns[0].observation.text for episode in episodes} == {"[<image>]"}
    template.write_text("system: Another.\n")
    resumed = deepeyes(*arguments, "--out", tmp_path / "run", "--resume")
    assert resumed.exit_code != 0
    assert "prompt_template was" in re.sub(r"[\s│]+", " ", resumed.stderr)


def test_a_run_with_the_usual_words_records_nothing_of_them(tmp_path):
    assert deepeyes("rollout", "--episodes", 1, "--out", tmp_path / "run").exit_code == 0
    assert not {"prompt", "prompt_template"} & settings(tmp_path / "run").keys()


def test_an_evaluation_asks_in_the_same_words(data, template, tmp_path):
    arguments = ("eval", "--bench", "jsonl", "--data", data, "--agent", "oracle", "--prompt-template", template)
    result = deepeyes(*arguments, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert "rows' own prompts name tools that the environment lacks (look_closer)" in " ".join(result.stderr.split())
    episodes = list(read_trajectories(tmp_path / "run"))
    assert {(episode.system_prompt, episode.prompt.text) for episode in episodes} == {(SYSTEM, USER)}
    assert {episode.turns[0].observation.text for episode in episodes} == {"[<image>]"}
    assert settings(tmp_path / "run")["prompt_template"]["system"] == "Look."
    written = json.loads((tmp_path / "run" / "report.json").read_text())
    assert written["conditions"][0]["unknown_tools"] == {"look_closer": 2}


@pytest.mark.parametrize("command", [("rollout",), ("eval", "--bench", "jsonl", "--agent", "oracle"), ("play",)])
@pytest.mark.parametrize(
    ("option", "reason"),
    [(("--prompt", "mine"), "unknown prompt 'mine'"), (("--prompt-template", "no.yaml"), "'no.yaml' cannot be read")],
)
def test_wrong_words_are_refused_before_anything_is_written(command, option, reason, data, tmp_path):
    result = deepeyes(*command, "--data", data, *option, "--out", tmp_path / "run")
    assert result.exit_code != 0
    assert reason in f"{result.stderr}{result.exception}"
    assert not (tmp_path / "run").exists()
