"""``deepeyes eval --credit`` and ``deepeyes credit``: report, page, exports, and the reward term that reads them."""

import json

import pytest
from typer.testing import CliRunner

from deepeyes_env.agents import ReaderAgent, register_agent
from deepeyes_env.agents.evaluation import report
from deepeyes_env.agents.evaluation.effects import read_effects
from deepeyes_env.cli.app import app
from deepeyes_env.data import write_jsonl
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.json_lines import read_lines

SCENES = VisualSearch(tasks=("attribute",), easy=0, size=(672, 672), length=2)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    monkeypatch.setattr(report, "draw", lambda *arguments: [])


def deepeyes(*arguments, code=0):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenes") / "scenes.jsonl"
    write_jsonl(SCENES, path)
    return path


def looking_twice(seed=0, max_turns=6):
    return ReaderAgent(seed, max_turns, looks=("elsewhere", "true"))


def scores(out):
    """The terms of each episode, as it was judged last."""
    return {
        each["episode"]: each["terms"]
        for _, line in read_lines(out / "scores.jsonl")
        if "terms" in (each := json.loads(line))
    }


@pytest.mark.integration
def test_an_evaluation_tells_which_calls_mattered(data, tmp_path):
    out = tmp_path / "run"
    register_agent("reader_twice", looking_twice)
    asked = ("eval", "--bench", "jsonl", "--data", data, "--max-pixels", 50176, "--out", out)
    done = deepeyes(*asked, "--agent", "reader_twice", "--credit")
    assert "credit: 128 episodes, about " in done.stderr
    assert (
        "4 calls of 2 episodes with their result as it was and blank: 2 mattered, 2 decorative, 0 harmful"
        in done.stdout
    )
    effects = read_effects(out)
    assert [each.verdict for calls in effects.values() for each in calls] == ["decorative", "mattered"] * 2
    written = json.loads((out / "report.json").read_text())
    assert written["credit"]["verdicts"] == {"mattered": 2, "decorative": 2, "harmful": 0}
    assert "## What calls were worth" in (out / "report.md").read_text()
    assert '\\"verdict\\":\\"decorative\\"' in (out / "data.js").read_text()

    again = deepeyes("credit", out, "--agent", "reader_twice")
    assert "credit: 0 episodes (128 more are on disk)" in again.stderr
    assert read_effects(out) == effects

    exported = tmp_path / "useful.jsonl"
    kept = deepeyes("export", out, "--format", "openai", "--out", exported, "--only-useful-calls", code=1)
    assert "no episode is left to write (a decorative call 2)" in kept.stderr

    deepeyes("eval", "--rescore", "--out", out, "--rubric", "causal_tool")
    rescored = scores(out)
    deepeyes(*asked, "--agent", "reader_twice", "--overwrite")
    assert not read_effects(out)

    at_once = (*asked, "--agent", "reader_twice", "--rubric", "causal_tool")
    refused = deepeyes(*at_once, "--resume", code=2)
    assert "--credit" in refused.stderr
    deepeyes(*at_once, "--overwrite", "--credit")
    assert scores(out) == rescored
    worth = {episode: sum(each.effect for each in calls) for episode, calls in effects.items()}
    assert {episode: terms["tool"]["raw"] for episode, terms in rescored.items()} == worth
