"""``deepeyes export``."""

import json
from base64 import b64encode

import numpy as np
import pytest
from typer.testing import CliRunner

from deepeyes_env import agents
from deepeyes_env.agents import evaluation
from deepeyes_env.agents.evaluation.score_file import last_scores
from deepeyes_env.agents.evaluation.scoring import Scoring, score_run
from deepeyes_env.cli.app import app
from deepeyes_env.data import load, tsv
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.data.vlmevalkit import write_tsv
from deepeyes_env.images.codec import encode
from deepeyes_env.judges import RuleJudge, make_judge
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.export.vlmevalkit import read_vlmevalkit


def deepeyes(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    agent = agents.make_agent("noisy", noise=0.6, seed=1)
    agents.rollout("VisualToolbox-v2", agent, episodes=12, out=folder, progress=False, num_envs=2)
    return folder


@pytest.mark.integration
@pytest.mark.parametrize(("format", "suffix"), [("sharegpt", "jsonl"), ("openai", "jsonl"), ("huggingface", "parquet")])
def test_it_exports_and_checks(run, tmp_path, format, suffix):
    out = tmp_path / f"cold.{suffix}"
    done = deepeyes(run, "--format", format, "--out", out, "--right", "--used-tools")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{out}: ")
    assert "wrong answer" in done.stdout
    checked = deepeyes("--format", format, "--check", out)
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.startswith(f"{out}: good {format}, {done.stdout.split()[1]} rows, ")


def test_a_sheet_needs_the_data(tmp_path):
    samples = load("visual_search")
    write_tsv([samples[i] for i in range(6)], tmp_path / "bench.tsv")
    settings = {"dataset": str(tmp_path / "bench.tsv"), "in_order": True, "episodes": 6, "progress": False}
    agents.rollout("VisualToolbox-v2", "oracle", out=tmp_path / "run", num_envs=2, **settings)
    sheet = ("--format", "vlmevalkit", "--out", tmp_path / "sheet.tsv")
    refused = deepeyes(tmp_path / "run", *sheet)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "give the data set that was played" in refused.stderr
    done = deepeyes(tmp_path / "run", *sheet, "--data", tmp_path / "bench.tsv")
    assert done.exit_code == 0, done.output
    assert "6 rows" in deepeyes("--format", "vlmevalkit", "--check", tmp_path / "sheet.tsv").stdout


QUESTIONS = {
    "mme_realworld_lite": {
        "question": "Which one?",
        "answer": "C",
        "multi-choice options": "Listed below:\n(A) one\n(B) two\n(C) three\n(D) four\n(E) none of these\n",
        "category": "Perception/OCR",
        "l2-category": "sign",
    },
    "mathvista": {
        "question": "Hint: Give the letter.\nQuestion: Which one?\nChoices:\n(A) one\n(B) two\n(C) three\n(D) four",
        "answer": "three",
        "answer_option": "C",
        "question_type": "multi_choice",
        "answer_type": "text",
        "choices": "['one', 'two', 'three', 'four']",
        "skills": "['statistical reasoning']",
    },
}


def evaluated(bench, path, out, **options):
    """Let an agent that knows the answers evaluate itself on six questions in a TSV; return the questions' columns."""
    columns = {"index": "", "image": "", **QUESTIONS[bench]}
    pixels = [np.full((64, 64 + i, 3), i, np.uint8) for i in range(6)]
    rows = [{**columns, "index": str(i), "image": b64encode(encode(p)).decode()} for i, p in enumerate(pixels)]
    table = [list(columns), *(list(row.values()) for row in rows)]
    path.write_bytes(b"".join(map(tsv.join_record, table)))
    benchmark, dataset = open_benchmark(bench, path, **options)
    agent, scoring = agents.make_agent("oracle"), Scoring(RuleJudge(), "rules")
    evaluation.evaluate(benchmark, dataset, agent, scoring, out=out, num_envs=2, progress=False)
    return [{k: v for k, v in row.items() if k != "image"} for row in rows]


@pytest.mark.integration
@pytest.mark.parametrize("bench", QUESTIONS)
def test_a_sheet_has_the_columns_of_a_benchmark_that_rewrites_its_questions(bench, tmp_path):
    rows = evaluated(bench, tmp_path / "bench.tsv", tmp_path / "run")
    sheet = tmp_path / "sheet.tsv"
    done = deepeyes(tmp_path / "run", "--format", "vlmevalkit", "--out", sheet, "--data", tmp_path / "bench.tsv")
    assert done.exit_code == 0, done.output
    written = [{"index": r.index, "question": r.question, **r.others} for r in read_vlmevalkit(sheet)]
    assert written == rows
    shown = {trajectory.answer for trajectory in read_trajectories(tmp_path / "run")}
    assert len(shown) > 1  # options were shown in other orders than the benchmark's
    assert {row.prediction for row in read_vlmevalkit(sheet)} == {"C"}


@pytest.mark.integration
def test_cycled_questions_have_no_place_in_a_sheet(tmp_path):
    evaluated("mme_realworld_lite", tmp_path / "bench.tsv", tmp_path / "run", circular=True)
    sheet = ("--format", "vlmevalkit", "--out", tmp_path / "sheet.tsv", "--data", tmp_path / "bench.tsv")
    refused = deepeyes(tmp_path / "run", *sheet)
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "was played with --circular" in refused.stderr


@pytest.mark.integration
def test_boxes_of_turned_images_have_no_place_in_a_sheet(tmp_path):
    record = {"image": "x.png", "sent": "the dot", "bbox": [5, 5, 40, 40]}
    (tmp_path / "x.png").write_bytes(encode(np.zeros((64, 80, 3), np.uint8)))
    (tmp_path / "ref.jsonl").write_text(f"{json.dumps(record)}\n")
    benchmark, dataset = open_benchmark("refcoco", tmp_path / "ref.jsonl", rotated=True)
    judge = Scoring(make_judge("box"), "box")
    settings = {"rotated": True}
    agent = agents.make_agent("oracle")
    evaluation.evaluate(benchmark, dataset, agent, judge, out=tmp_path / "run", settings=settings, progress=False)
    sheet = ("--format", "vlmevalkit", "--out", tmp_path / "sheet.tsv", "--data", tmp_path / "ref.jsonl")
    refused = deepeyes(tmp_path / "run", *sheet)
    assert "was played with --rotated" in refused.stderr


def test_verdicts_of_a_judge_that_came_later_count(tmp_path):
    settings = {"episodes": 8, "rubric": None, "progress": False, "num_envs": 2}
    agents.rollout("VisualToolbox-v2", "blind", out=tmp_path / "run", **settings)
    out = tmp_path / "cold.jsonl"
    refused = deepeyes(tmp_path / "run", "--out", out, "--right")
    assert "(not scored 8); nothing was written; play with a rubric, or judge the run" in refused.stderr
    score_run(tmp_path / "run", Scoring(RuleJudge(), "rules"), progress=False)
    right = sum(score.value == 1 for score in last_scores(tmp_path / "run").values())
    assert 0 < right < 8
    done = deepeyes(tmp_path / "run", "--out", out, "--right")
    assert done.stdout == f"{out}: {right} episodes; left out: wrong answer {8 - right}\n"


def test_files_are_replaced_only_when_asked(run, tmp_path):
    out = tmp_path / "cold.jsonl"
    assert deepeyes(run, "--out", out).exit_code == 0
    refused = deepeyes(run, "--out", out)
    assert "exists; give another file or --overwrite" in refused.stderr
    assert deepeyes(run, "--out", out, "--overwrite", "--clean").exit_code == 0
    itself = deepeyes(run, "--out", run / "trajectories.jsonl", "--overwrite")
    assert "is the run itself" in itself.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "alpaca", "--out", "x.jsonl"], "unknown format 'alpaca'"),
        (["--out", "x.jsonl", "--min-reward", "99"], "no episode is left to write (reward below 99 12)"),
        (["--out", "x.jsonl", "--calls", "xml"], "calls='xml'"),
        (["--out", "x.jsonl", "--tools", "both"], "tools='both': must be 'on' or 'off'"),
    ],
)
def test_a_users_mistake_is_one_line(run, arguments, message):
    result = deepeyes(run, *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["run"], ["--out", "x.jsonl"], ["run", "--check", "x.jsonl"], ["--check", "x.jsonl", "--right"]]
)
def test_arguments_that_make_no_sense_are_refused(arguments):
    assert deepeyes(*arguments).exit_code == 2


def test_a_wrong_file_is_one_line_with_the_place(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"messages": []}\n')
    result = deepeyes("--format", "openai", "--check", tmp_path / "x.jsonl")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "x.jsonl, line 1: messages must end with one of the assistant" in result.stderr
